"""Clients of model providers: the OpenAI Responses API over HTTP."""
