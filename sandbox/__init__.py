"""The sandbox: partner systems on loopback, BoSko's database, data made from a seed, and the demo that runs on them."""
