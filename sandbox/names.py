"""Swedish names and addresses to draw from: distinctive ones, so that a search for a person finds no ordinary word."""

WOMEN = (
    "Ingegärd", "Hjördis", "Åslög", "Märtha", "Gunnvor", "Frideborg", "Ingvild", "Désirée", "Älvira", "Ragnfrid",
    "Solbritt", "Tuulikki", "Yngvild", "Görel", "Kerstina", "Gülsen", "Birgitta", "Ulrika", "Annelie", "Lovisa",
)  # fmt: skip
MEN = (
    "Torbjörn", "Håkan", "Göran", "Sören", "Östen", "Björgulf", "Valdemar", "Sigvard", "Jürgen", "Sölve",
    "Ragnvald", "Åkerman", "Thoralf", "Ingemar", "Folkvar", "Zlatibor", "Hjalmar", "Arvidh", "Mårten", "Gusten",
)  # fmt: skip
FAMILIES = (
    "Ängsvik", "Örjansson", "Åkerstigh", "Björkvallius", "Sjöqvister", "Grönstedth", "Wästerlundh", "Hägglöv",
    "Törnbladh", "Kvarnmyr", "Ståhlgrenius", "Möllerfeldt", "Müllerström", "Öhrnbäck", "Rosenqvastén", "Nyängsberga",
    "Håkanstorp", "Lövgrenius", "Västansjö", "Yttergårdh", "Skoogmanius", "Brännmarkh", "Fältskogh", "Åsbrinkell",
    "Dahlmarkus", "Eklöfvén", "Gyllenhammarsson", "Höglinder", "Jägerfeltz", "Källströmer",
)  # fmt: skip
STREETS = (
    "Götgatan", "Åsögatan", "Hornsgatan", "Sankt Eriksgatan", "Drottningholmsvägen", "Bondegatan", "Ringvägen",
    "Kungsholmsstrand", "Tegnérgatan", "Döbelnsgatan", "Folkungagatan", "Älvsjövägen", "Rågsvedsvägen",
    "Hässelbyvägen", "Spångavägen", "Örbyleden", "Vällingbyvägen", "Bäckvägen", "Nynäsvägen", "Fältöversten",
)  # fmt: skip
TOWNS = (
    ("11646", "Stockholm"), ("12557", "Älvsjö"), ("16261", "Vällingby"), ("16352", "Spånga"), ("12466", "Bandhagen"),
    ("16562", "Hässelby"), ("12832", "Skarpnäck"), ("12064", "Årsta"), ("16734", "Bromma"), ("12360", "Farsta"),
)  # fmt: skip
ESTATES = ("FÅGELBÄRET", "ÄPPELTRÄDET", "KVARNSTENEN", "RÅGAXET", "SJÖJUNGFRUN", "BLÅKLOCKAN")
COUNTRIES = (("FI", "FINLAND"), ("SY", "SYRIEN"), ("PL", "POLEN"), ("TR", "TURKIET"), ("DE", "TYSKLAND"))
UNITS = ("Förskolan Rönnbäret", "Förskolan Åkerbäret", "Förskolan Ängsblomman", "Förskolan Örnen", "Förskolan Lärkan")
