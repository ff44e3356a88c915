import Credentials
import Testing

@Suite struct `Words of the site` {
  private let words = ["Example", "Привет", "楽天", "STRASSE", "Café", "mississippi"]
  private let user = UserAttributes(username: "", firstName: "", lastName: "", email: "")

  private func codes(_ password: String, minimumRest: Int = 8) -> [String] {
    ContextWordsValidator(words: words, minimumRest: minimumRest).validate(password, user: user).map { [$0.code] } ?? []
  }

  @Test(arguments: [
    "example", "EXAMPLE", "Example2026!", "my-example-1", "exampleexample", "examplexample", "example-mississippi-1", "3x4mpl3", "ex@mp1e!",
    "m1$$!ss1pp1-99", "ｅｘａｍｐｌｅ１２", "\u{C9}xa\u{300}mple99", "\u{E9}xample", "e\u{301}xample", "exam\u{327}ple", "привет123", "ПРИВЕТ",
    "楽天2026", "straße-77", "Strasse77", "cafe1234", "CAFÉ-2026", "example!!!!!!!!!!!!!!!!", "1111111111example",
  ])
  func `are refused as a password, in any spelling, unless enough is added`(_ password: String) {
    #expect(codes(password) == ["password_contains_context"])
  }

  @Test(arguments: [
    "example-correct-horse-battery", "correct-horse-example-battery", "exam-ple", "exemple", "short", "", "приветливый-человек", "楽天で買い物をするのが好き",
    "e-x-a-m-p-l-e", "cafexyzvwuts",
  ])
  func `do not matter in a longer password, or if they are not there`(_ password: String) { #expect(codes(password) == []) }

  @Test func `leave a password as many characters as the option demands`() {
    #expect(codes("example1234567") == ["password_contains_context"] && codes("example12345678") == [])
    #expect(codes("example123", minimumRest: 3) == [] && codes("example12", minimumRest: 3) == ["password_contains_context"])
    #expect(codes("example-correct-horse-battery", minimumRest: 4096) == ["password_contains_context"])
    #expect(codes("correct-horse-battery", minimumRest: 4096) == [])
  }
}
