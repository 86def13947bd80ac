"""The programs that run until they are told to stop. Everything they are made of comes from `wiring`.

worker   `aegis worker`: delivers, and imports nothing of the API
sealer   `aegis sealer`: seals, and imports nothing of the API
server   `aegis serve`: the API, with workers, a sealer and further API processes under it
api      a further API process
http     the listeners of an API process
link     the link to the console that `aegis serve` prints
site     what is behind them, by path: API or console
program  what worker and sealer share: stores opened, work until stopped, stores closed
process  how a process begins and ends
draining  the last while of a service that was asked to stop
server_watch  looks at the PostgreSQL server again, after a failover
membership  registers `aegis serve` beside those of other machines
"""
