enum StubMail {}
