import Credentials
import Foundation
import HTTPTypes
import HummingbirdTesting
import Testing

@testable import App
@testable import Localization
import Text

@Suite struct `A language` {
  private typealias File = [String: [String: Any]]

  private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  private static func file(_ tag: String) throws -> File {
    let data = try Data(contentsOf: root.appendingPathComponent("Sources/Localization/Languages/\(tag).json"))
    return try #require(JSONSerialization.jsonObject(with: data) as? File)
  }

  /// Returns every sentence of a file by its place.
  private static func sentences(_ value: Any, at path: String = "") -> [String: String] {
    if let text = value as? String { return [path: text] }
    let object = value as? [String: Any] ?? [:]
    return object.reduce(into: [:]) { $0.merge(sentences($1.value, at: "\(path)/\($1.key)")) { $1 } }
  }

  private static func placeholders(_ text: String) -> Set<String> { Set(text.matches(of: /\{+[a-z_.]+\}+/).map { String($0.0) }) }

  @Test(arguments: Languages.builtIn) func `has every sentence of the emails, with the same placeholders`(_ tag: String) throws {
    let english = Self.sentences(try Self.file("en")["mail"] ?? [:])
    let sentences = Self.sentences(try Self.file(tag)["mail"] ?? [:])
    #expect(sentences.keys.sorted() == english.keys.sorted())
    for (place, text) in sentences {
      #expect(Self.placeholders(text) == Self.placeholders(english[place] ?? ""), "\(place)")
      // They are inserted into HTML unescaped, also into attributes.
      #expect(!text.contains { "<>&\"".contains($0) || $0.isNewline }, "\(place)")
    }
  }

  @Test(arguments: Languages.builtIn.filter { $0 != "en" }) func `has every message in the code, in all its plural forms`(_ tag: String) throws {
    let messages = try #require(try Self.file(tag)["messages"])
    let phrases = try Self.messagesInCode()
    #expect(phrases.count > 20)
    #expect(Set(messages.keys) == phrases)
    let counted: Set<String> = ["min_length", "max_length", "limit_value", "count"]
    let categories: [String: Set<String>] = ["ar": ["zero", "one", "two", "few", "many", "other"], "ja": ["other"], "zh-Hans": ["other"]]
    for (phrase, translation) in messages {
      let isCounted = !Self.placeholders(phrase).isDisjoint(with: counted.map { "{\($0)}" })
      #expect((translation is [String: String]) == isCounted, "\(phrase)")
      guard let forms = translation as? [String: String] else { continue }
      #expect(Set(forms.keys) == categories[tag] ?? ["one", "other"], "\(phrase)")
      #expect(Self.placeholders(forms["other"] ?? "") == Self.placeholders(phrase), "\(phrase)")
    }
  }

  /// Returns the text of every `LocalizableMessage("…")` in the sources.
  private static func messagesInCode() throws -> Set<String> {
    let sources = root.appendingPathComponent("Sources")
    let files = try #require(FileManager.default.enumerator(at: sources, includingPropertiesForKeys: nil)).compactMap { $0 as? URL }
    var phrases: Set<String> = []
    for file in files where file.pathExtension == "swift" {
      for match in try String(contentsOf: file, encoding: .utf8).matches(of: /LocalizableMessage\(\s*"([^"]+)"/) { phrases.insert(String(match.1)) }
    }
    let similar = try #require(phrases.first { $0.contains(#"\(attribute.verboseName)"#) })
    phrases.remove(similar)
    for name in ["username", "first name", "last name", "email address"] { phrases.insert("The password is too similar to the \(name).") }
    return phrases
  }

  @Test func `has the right form for each number`() throws {
    func text(_ count: Int, _ tag: String) throws -> String {
      let error = try #require(
        MinimumLengthValidator(minimum: count).validate("", user: UserAttributes(username: "", firstName: "", lastName: "", email: "")))
      return try #require(try Languages().match(tag)).text(of: error.localizableMessage)
    }
    #expect(try text(1, "en").hasSuffix("at least 1 character.") && text(8, "en").hasSuffix("at least 8 characters."))
    #expect(try text(1, "fr") != text(2, "fr").replacing("2", with: "1"))
    for count in [1, 2, 3, 11, 100] { #expect(try text(8, "ja").replacing("8", with: "\(count)") == text(count, "ja")) }
    let arabic = [0, 1, 2, 3, 10, 11, 99, 100, 102, 103, 111].map { PluralCategory(of: $0, in: "ar").rawValue }
    #expect(arabic == ["zero", "one", "two", "few", "few", "many", "many", "other", "other", "few", "many"])
    #expect(PluralCategory(of: 0, in: "fr") == .one && PluralCategory(of: 0, in: "de") == .other)
  }

  @Test(
    arguments: [
      (nil, nil, "en"), ("de", nil, "de"), ("DE", nil, "de"), ("de-AT", nil, "de"), ("de_AT", nil, "de"), ("pt", nil, "pt-BR"),
      ("pt-PT", nil, "pt-BR"), ("zh", nil, "zh-Hans"), ("zh-Hans-CN", nil, "zh-Hans"), ("zh-TW", nil, "zh-Hans"), ("tlh", nil, "en"),
      ("tlh", "fr", "fr"), ("de", "fr", "de"), (nil, "fr;q=0.5, ja;q=0.9, *;q=0.1", "ja"), (nil, "nl, es;q=0.8, en;q=0.7", "es"),
      (nil, "de;q=0, fr", "fr"), (nil, "fr;q=x, de", "de"), (nil, ";;;,,", "en"), (nil, "*", "en"), ("-", "ar-EG", "ar"),
      (nil, "de;Q=0.2, fr;q=0.5", "fr"), (nil, "de ; q=0.2 ,\tfr\t;\tq=0.5", "fr"), (nil, "DE-ch", "de"), (nil, "de;level=1;q=0.1, fr;q=0.2", "fr"),
      (nil, "de;q=0.001, fr;q=0.000", "de"), (nil, "de;q=1.000, fr", "de"), (nil, "fr;q=1.001, de;q=0.1", "de"), (nil, "fr;q=1e-1, de;q=0.01", "de"),
      (nil, "fr;q=nan, de;q=0.1", "de"), (nil, "fr;q=0x1p-1, de;q=0.1", "de"), (nil, "f r, de;q=0.1", "de"), (nil, "fr;q=0.5555, de;q=0.1", "de"),
      (nil, String(repeating: "tlh,", count: 5000) + "de", "en"), (String(repeating: "a-", count: 5000), "de", "de"),
    ] as [(String?, String?, String)])
  func `is chosen by name, then by Accept-Language, then by default`(_ locale: String?, _ header: String?, _ expected: String) throws {
    #expect(try Languages().choose(locale: locale, acceptLanguage: header).tag == expected)
  }

  @Test func `is that of the messages, as Content-Language says`() async throws {
    let harness = try Harness()
    try await harness.run(["LANGUAGE_CODE": "fr"]) { client in
      try await harness.addUser()
      let bad = try await client.send(.post, "/password-reset", body: #"{"locale": "de"}"#)
      #expect(bad.headers[.contentLanguage] == "de")
      #expect(bad.text.contains("Dieses Feld muss ausgefüllt werden."))
      let french = try await client.send(.post, "/password-reset", body: "{}")
      #expect(french.headers[.contentLanguage] == "fr" && french.code == "validation_error")

      _ = try await client.requestReset(email: "alice@example.com")
      let link = try await harness.link()
      let headers: HTTPFields = [.acceptLanguage: "ja, en;q=0.5", .contentType: "application/json"]
      let check = try await client.execute(uri: link, method: .get, headers: headers) { Reply($0) }
      let japanese = try #require(try Languages().match("ja"))
      let rules = try #require(try check.json["password_rules"] as? [String])
      #expect(check.headers[.contentLanguage] == "ja" && rules.contains(japanese.text(of: NumericPasswordValidator().helpText)))
      let weak = try await client.execute(
        uri: link, method: .post, headers: headers, body: .init(string: #"{"new_password1": "12", "new_password2": "12", "locale": "de-CH"}"#)
      ) { Reply($0) }
      #expect(weak.headers[.contentLanguage] == "de")
      #expect(weak.fieldCodes == ["new_password2": ["password_too_short", "password_too_common", "password_entirely_numeric"]])
      #expect(!weak.text.contains("This password"))
    }
  }

  @Test func `of an email is that of the request, and of the notice that of the reset`() async throws {
    let harness = try Harness()
    try await harness.run { client in
      try await harness.addUser()
      for body in [#"{"email": "alice@example.com", "locale": "pt"}"#, #"{"email": "alice@example.com"}"#] {
        let headers: HTTPFields = [.acceptLanguage: "ar", .contentType: "application/json"]
        _ = try await client.execute(uri: "/password-reset", method: .post, headers: headers, body: .init(string: body)) { Reply($0) }
      }
      let link = try await harness.link(count: 2)
      #expect(harness.mails.sent.map(\.language).sorted() == ["ar", "pt-BR"])
      let arabic = try #require(harness.mails.sent.first { $0.language == "ar" }?.html)
      #expect(arabic.contains(#"<html lang="ar" dir="rtl">"#))
      _ = try await client.execute(
        uri: link, method: .post, headers: [.acceptLanguage: "zh-CN", .contentType: "application/json"],
        body: .init(string: #"{"new_password1": "a-Fine-pass-77", "new_password2": "a-Fine-pass-77"}"#)
      ) { Reply($0) }
      try await eventually("the notice") { harness.mails.sent.last?.language == "zh-Hans" }
    }
  }
}
