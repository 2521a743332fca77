async def check(world):
    pass
