enum StubHTTPAPI {}
