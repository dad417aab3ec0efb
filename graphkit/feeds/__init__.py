"""What a model's inputs take: feeds that were given, and random feeds that the graph accepts."""
