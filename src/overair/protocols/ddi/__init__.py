"""Direct Device Integration, the device API of hawkBit, without I/O: what comes in, what goes out, the rules.

Source: spec ddi.md. Nothing here knows a socket, a clock or chance; `now_ms` is passed in, and a number that
differs from poll to poll for what is to be spread over time.
"""
