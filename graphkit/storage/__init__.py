"""Bytes <-> Model: the only rooms that know the protobuf wire format or open a weight file."""
