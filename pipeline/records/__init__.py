"""Everything that travels on a topic: its fields, its wire codec and its schema version (ARCHITECTURE 7).

Records are frozen. Encoding gives a `Message` (key, value, headers); decoding takes the same parts and raises
`BadRecordError` with a short stable reason. JSON is written with sorted keys and no spaces, so equal records have equal
bytes.
"""
