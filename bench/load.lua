-- Load generator in wrk: sends batches of events, by copying ids into one prepared request.
-- Arguments after "--": control page, template file (one complete HTTP request), file of id offsets, events per request,
-- run (3 characters), "ordered" or "scattered", status and body of the expected answers. See control.py for the page and load.py for the template.

local ffi = require("ffi")
ffi.cdef [[
  int open(const char *path, int flags);
  void *mmap(void *address, size_t length, int protection, int flags, int file, long offset);
]]

local RECEIVED, BACKLOG_MAX, STOP, FIRST_SLOT, SLOT = 0, 1, 2, 8, 8
local SENT, ACKED, BAD, ANSWERS = 0, 1, 2, 3
local WAIT_MS, WAIT_MORE_MS, WAIT_LONGEST_MS = 4, 40, 250

local threads = 0
function setup(thread)
  thread:set("thread_index", threads)
  threads = threads + 1
end

local function read_all(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local page, slot, request_bytes, buffer, offsets, per_request, batches, scattered, expected, expected_status
local DIGITS = "0123456789abcdef"

function init(args)
  local file = ffi.C.open(args[1], 2) -- O_RDWR
  assert(file >= 0, "cannot open the control page")
  page = ffi.cast("double *", ffi.C.mmap(nil, 4096, 3, 1, file, 0)) -- PROT_READ | PROT_WRITE, MAP_SHARED
  slot = FIRST_SLOT + SLOT * thread_index
  local template = read_all(args[2])
  request_bytes = #template
  buffer = ffi.new("uint8_t[?]", request_bytes)
  ffi.copy(buffer, template, request_bytes)
  local places = {}
  for offset in read_all(args[3]):gmatch("%d+") do places[#places + 1] = tonumber(offset) end
  offsets = ffi.new("int32_t[?]", #places)
  for index, offset in ipairs(places) do offsets[index - 1] = offset end
  per_request = tonumber(args[4])
  assert(#places == 2 * per_request)
  scattered = args[6] == "scattered"
  -- Each thread counts separately: the fourth character of the run is the thread's.
  for index = 0, 2 * per_request - 1 do
    ffi.copy(buffer + offsets[index], args[5], 3)
    buffer[offsets[index] + 3] = DIGITS:byte(thread_index + 1)
  end
  batches = thread_index == 0 and -1 or 0 -- wrk calls the first thread's request() once to inspect it, and does not send it
  expected_status, expected = tonumber(args[7]), args[8]
end

local function write_decimal(place, number)
  for digit = 11, 0, -1 do
    local rest = math.floor(number / 10)
    place[digit] = 48 + (number - rest * 10)
    number = rest
  end
end

local HEX = ffi.new("uint8_t[16]", { DIGITS:byte(1, 16) })

local function write_scattered(place, number)
  -- A multiplication by an odd number modulo 2^48 is one to one: unique, and not ordered.
  local mixed = ffi.cast("uint64_t", number) * 0x9E3779B97F4A7C15ULL
  for digit = 0, 11 do -- the low 48 bits
    place[digit] = HEX[tonumber(mixed % 16ULL)]
    mixed = mixed / 16ULL
  end
end

local NOTHING = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"

function request()
  -- After a wait wrk always sends: after the stop, send a request that records no event.
  if page[STOP] ~= 0 then return NOTHING end
  batches = batches + 1
  if batches == 0 then return ffi.string(buffer, request_bytes) end
  local write = scattered and write_scattered or write_decimal
  local number = batches * per_request
  for event = 0, per_request - 1 do
    local first = buffer + offsets[2 * event] + 4
    write(first, number + event)
    ffi.copy(buffer + offsets[2 * event + 1] + 4, first, 12)
  end
  page[slot + SENT] = page[slot + SENT] + per_request
  return ffi.string(buffer, request_bytes)
end

-- wrk calls this before every request: how many milliseconds to wait.
function delay()
  if page[STOP] ~= 0 then return 3600000 end
  local sent = 0
  for thread = 0, 15 do sent = sent + page[FIRST_SLOT + SLOT * thread + SENT] end
  local over = (sent - page[RECEIVED]) / page[BACKLOG_MAX]
  if over < 1 then return 0 end
  -- wrk does not call it again after the wait, so the wait grows with the excess.
  return math.min(WAIT_MS + WAIT_MORE_MS * (over - 1), WAIT_LONGEST_MS)
end

-- wrk calls this at its end.
function done(_, latency)
  for _, share in ipairs({ 50, 99 }) do
    io.write(string.format("answer p%d %d us\n", share, latency:percentile(share)))
  end
end

function response(status, headers, body)
  if body ~= expected and (status == 200 or status == 404) then return end -- to NOTHING
  page[slot + ANSWERS] = page[slot + ANSWERS] + 1
  if status == expected_status and body == expected then
    page[slot + ACKED] = page[slot + ACKED] + per_request
    return
  end
  page[slot + ACKED] = page[slot + ACKED] + (tonumber(body:match('"accepted":(%d+)')) or 0)
  page[slot + BAD] = page[slot + BAD] + 1
  if page[slot + BAD] <= 3 then io.stderr:write(status, " ", body:sub(1, 300), "\n") end
end
