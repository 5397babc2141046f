"""Requests for clips as plain JSON, which the server and the batch share.

From below: `fields` lists what a request may say and reads it; `models` are the models it may name;
`calls` goes from a request to the call of a pipeline.
"""
