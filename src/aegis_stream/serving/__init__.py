"""The programs that run until they are told to stop. Everything they are made of comes from `wiring`.

worker   `aegis worker`: delivers, and imports nothing of the API
server   `aegis serve`: the API, with workers and further API processes under it
api      a further API process
http     the listeners of an API process
process  how a process begins and ends
"""
