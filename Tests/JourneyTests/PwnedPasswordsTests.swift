import Foundation
import HummingbirdTesting
import PasswordReset
import Testing

@testable import App
@testable import PwnedPasswords

/// A folder with lists of leaked passwords.
private final class Lists: Sendable {
  let folder: URL

  init() throws {
    folder = FileManager.default.temporaryDirectory.appendingPathComponent("pwned-tests-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(at: folder) }

  func path(_ name: String) -> String { folder.appendingPathComponent(name).path }

  func write(_ text: String, to name: String) throws -> String {
    try Data(text.utf8).write(to: URL(fileURLWithPath: path(name)))
    return path(name)
  }

  /// Writes the list of the passwords as the downloader does.
  func list(of passwords: [String], to name: String = "list.txt", end: String = "\r\n") throws -> String {
    try write(passwords.map { SHA1Hash(of: $0) }.sorted().map { "\($0.hexadecimal):1\(end)" }.joined(), to: name)
  }

  func filter(of passwords: [String], to name: String = "pwned.filter") throws -> String {
    _ = try FilterBuilder(list: list(of: passwords)).build(at: path(name))
    return path(name)
  }
}

@Suite struct `A list of leaked passwords` {
  private static func passwords(_ name: String, _ count: Int) -> [String] { (0..<count).map { "\(name)-\($0)" } }

  @Test func `is hashed as Have I Been Pwned does`() {
    #expect(SHA1Hash(of: "P@ssw0rd").hexadecimal == "21BD12DC183F740EE76F27B78EB39C8AD972A757")
    #expect(SHA1Hash(of: "").hexadecimal == "DA39A3EE5E6B4B0D3255BFEF95601890AFD80709")
    // Neither stripped nor normalized.
    #expect(SHA1Hash(of: "é") != SHA1Hash(of: "e\u{301}"))
    #expect(SHA1Hash(of: "a ") != SHA1Hash(of: "a"))
  }

  @Test(arguments: [1, 2, 90, 200, 3000]) func `contains exactly its passwords, as a filter and as it is published`(_ count: Int) async throws {
    let lists = try Lists()
    let leaked = Self.passwords("leaked", count)
    for file in [
      try lists.filter(of: leaked), try lists.list(of: leaked), try lists.list(of: leaked, to: "unix.txt", end: "\n"),
    ] {
      let source = try PwnedPasswordsFile(path: file)
      for password in leaked { #expect(try await source.contains(SHA1Hash(of: password)), "\(password)") }
      for password in Self.passwords("other", 300) { #expect(try await !source.contains(SHA1Hash(of: password)), "\(password)") }
    }
  }

  /// Hashes are evenly distributed, but a file may contain anything.
  @Test func `is also searched correctly if its hashes are crowded`() async throws {
    let lists = try Lists()
    let hashes = (0..<2000).map { number in
      let digits = String(number < 1900 ? number : number * 1000, radix: 16, uppercase: true)
      return "7777" + String(repeating: "0", count: 8 - digits.count) + digits + String(repeating: "A", count: 28)
    }
    let path = try lists.write(hashes.map { $0 + ":3\n" }.joined(), to: "crowded.txt")
    _ = try FilterBuilder(list: path, allowsMissingRanges: true).build(at: lists.path("filter"))
    let source = try PwnedPasswordsFile(path: lists.path("filter"))
    for hash in hashes {
      let listed = try #require(SHA1Hash(Array(hash.utf8), 0..<40))
      #expect(try await source.contains(listed), "\(hash)")
      let other = try #require(SHA1Hash(Array("7777F\(hash.dropFirst(5))".utf8), 0..<40))
      #expect(try await !source.contains(other), "\(hash)")
    }
  }

  @Test func `in range files makes the same filter as in one file`() throws {
    let lists = try Lists()
    let hashes = Self.passwords("leaked", 300).map { SHA1Hash(of: $0) }.sorted().map(\.hexadecimal)
    let folder = lists.folder.appendingPathComponent("ranges")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    for (prefix, hashes) in Dictionary(grouping: hashes, by: { $0.prefix(5) }) {
      let text = hashes.map { $0.dropFirst(5) + ":7" }.joined(separator: "\r\n")
      try Data(text.utf8).write(to: folder.appendingPathComponent("\(prefix).txt"))
    }
    let summary = try FilterBuilder(list: folder.path, allowsMissingRanges: true).build(at: lists.path("ranges.filter"))
    #expect(summary.listed == 300 && summary.entries == 300)
    #expect(FileManager.default.contentsEqual(atPath: lists.path("ranges.filter"), andPath: try lists.filter(of: Self.passwords("leaked", 300))))
    let error = #expect(throws: PwnedFileError.self) { try FilterBuilder(list: folder.path).build(at: lists.path("no.filter")) }
    #expect(error?.description.contains("00000.txt is missing") == true)
  }

  @Test func `leaves out passwords below the minimum count`() async throws {
    let lists = try Lists()
    let counted = [("often", 12), ("ten", 10), ("seldom", 9), ("padding", 0)].map { (SHA1Hash(of: $0), $1) }.sorted { $0.0 < $1.0 }
    let path = try lists.write(counted.map { "\($0.0.hexadecimal):\($0.1)\n" }.joined(), to: "list.txt")
    let summary = try FilterBuilder(list: path, minimumCount: 10).build(at: lists.path("filter"))
    #expect(summary.listed == 4 && summary.entries == 2)
    let source = try PwnedPasswordsFile(path: lists.path("filter"))
    for password in ["often", "ten"] { #expect(try await source.contains(SHA1Hash(of: password))) }
    for password in ["seldom", "padding"] { #expect(try await !source.contains(SHA1Hash(of: password))) }
  }

  @Test func `that is malformed is refused with the line, and the old filter stays`() throws {
    let lists = try Lists()
    let old = try lists.filter(of: ["old"])
    let before = try Data(contentsOf: URL(fileURLWithPath: old))
    let first = "000000005AD76BD555C1D6D771DE417A4B87E4B4:10\r\n"
    let second = "00000000A8DAE4228F821FB418F59826079BF368:4\r\n"
    let random = (0..<1000).map { SHA1Hash(of: "\($0)") }.sorted().map { "\($0.hexadecimal):1\n" }
    let malformed: [(String, String)] = [
      ("", "is empty"), (first + "\r\n" + second, "line 2: expected"), (second + first, "line 2: the list is not sorted"),
      (first + first, "line 2: the list is not sorted"), (first + second.dropLast(4), "line 2: expected"),
      (first.replacing(":", with: ";"), "line 1"),
      ("8846F7EAEE8FB117AD06BDD830B7586C:1\n", "line 1: expected a SHA-1 hash"), (first + "G" + second.dropFirst(), "line 2"),
      (String(repeating: "0", count: 3_000_000), "line 1"), (random.prefix(500).joined(), "a part at its end is missing"),
      (first.replacing("10", with: "-1"), "line 1"), (first.replacing("10", with: String(repeating: "9", count: 30)), "line 1"),
    ]
    for (text, message) in malformed {
      let path = try lists.write(text, to: "bad.txt")
      let error = #expect(throws: PwnedFileError.self) { try FilterBuilder(list: path).build(at: old) }
      #expect(error?.description.contains(message) == true, "\(error?.description ?? "")")
      #expect(try Data(contentsOf: URL(fileURLWithPath: old)) == before)
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: lists.folder.path).sorted() == ["bad.txt", "list.txt", "pwned.filter"])
  }

  @Test func `in a damaged file prevents the start, with the setting and the remedy`() throws {
    let lists = try Lists()
    let good = try Data(contentsOf: URL(fileURLWithPath: lists.filter(of: Self.passwords("leaked", 1000))))
    func flipped(_ offset: Int) -> Data {
      var data = good
      data[offset] ^= 1
      return data
    }
    let text = Data(try String(contentsOfFile: lists.list(of: Self.passwords("leaked", 1000)), encoding: .utf8).utf8)
    let files: [(Data, String)] = [
      (Data(), "it is empty"), (good.dropLast(), "it is truncated"), (good.dropLast(4), "it is truncated"), (good + [0, 0, 0, 0], "it is truncated"),
      (good.prefix(1000), "it is truncated"), (good.prefix(8), "it is truncated"), (good.prefix(4), "it is neither"), (flipped(0), "it is neither"),
      (flipped(15), "another release"), (flipped(23), "it is damaged"), (flipped(300_000), "it is damaged"), (flipped(524_350), "it is damaged"),
      (text.dropLast(20), "it is truncated in its last line"), (text.prefix(227 * 44), "a part at its end is missing"),
      (Data("hello\n".utf8), "it is neither"),
      (Data([0x1F, 0x8B] + good), "it is neither"),
      (Data(String(decoding: text, as: UTF8.self).split(separator: "\r\n").reversed().joined(separator: "\n").utf8), "it is not sorted"),
    ]
    for (data, reason) in files {
      let path = lists.path("bad")
      try data.write(to: URL(fileURLWithPath: path))
      let error = #expect(throws: SettingsError.self) {
        _ = try PasswordPolicySettings(environment: ["AUTH_PASSWORD_VALIDATORS": Self.setting(#""file": "\#(path)""#)])
      }
      let finding = try #require(error?.findings.first)
      #expect(finding.kind == .unusablePwnedFile && finding.message.hasPrefix("AUTH_PASSWORD_VALIDATORS "), "\(finding)")
      #expect(finding.message.contains(reason) && finding.message.contains("password-reset pwned build"), "\(finding.message)")
    }
    for path in [lists.path("missing"), lists.folder.path] { #expect(throws: PwnedFileError.self) { try PwnedPasswordsFile(path: path) } }
  }

  private static func setting(_ options: String, name: String = "PwnedPasswordsValidator") -> String {
    #"[{"NAME": "\#(name)", "OPTIONS": {\#(options)}}]"#
  }

  @Test(arguments: [
    ("", "it needs the option file"), (#""api": false"#, "it needs the option file"), (#""api": "yes""#, "api must be true"),
    (#""api": 1"#, "api must be true"),
    (#""api": "http://pwned.example.com/range/""#, "api must be true"), (#""api": "https://user:secret@example.com/""#, "api must be true"),
    (#""api": "https://example.com/?q=""#, "api must be true"), (#""api": "ftp://127.0.0.1/""#, "api must be true"),
    (#""api": "https:///x""#, "api must be true"),
    (#""api": true, "on_failure": "pass""#, "on_failure must be accept or refuse"), (#""api": true, "timeout": 1"#, "no option timeout"),
    (#""api": true, "api_client": "x.y""#, "api_client is Python code"), (#""api": true, "error_message": "%(amount)d times""#, "without %(amount)d"),
    (#""api": true, "help_message": 5"#, "help_message must be a text"), (#""file": 5"#, "file must be a text"),
  ]) func `is refused with options that cannot work`(_ options: String, _ message: String) throws {
    let error = #expect(throws: PasswordValidatorList.Invalid.self) { try Self.list(Self.setting(options)) }
    #expect(error?.message.contains(message) == true, "\(error?.message ?? "")")
  }

  private static func list(_ json: String) throws(PasswordValidatorList.Invalid) -> PasswordValidatorList {
    try PasswordValidatorList(json: json) { SiteWords(siteName: "", domains: []) }
  }

  @Test func `cannot be named twice`() {
    let entry = #"{"NAME": "PwnedPasswordsValidator", "OPTIONS": {"api": true}}"#
    let error = #expect(throws: PasswordValidatorList.Invalid.self) { try Self.list("[\(entry), \(entry)]") }
    #expect(error?.message == "can name PwnedPasswordsValidator only once.")
  }

  @Test func `is looked up in the API for a site that uses the Django package`() throws {
    let name = "pwned_passwords_django.validators.PwnedPasswordsValidator"
    let bare = try Self.list(#"[{"NAME": "\#(name)"}]"#)
    #expect(bare.pwned?.apiURL == RangeAPI.publicURL && bare.pwned?.path == nil)
    let texts = try Self.list(Self.setting(#""error_message": "Leaked!", "help_message": "No leaks.""#, name: name))
    #expect(texts.pwned?.texts.error == "Leaked!" && texts.pwned?.texts.help == "No leaks.")
    let mirror = try Self.list(Self.setting(#""api": "http://localhost:8000/range""#, name: name))
    #expect(mirror.pwned?.apiURL == "http://localhost:8000/range/")
  }
}

@Suite struct `A leaked password` {
  private static let leaked = "correct-Horse-9"
  private static let other = "a-Fine-pass-77"

  private static func setting(_ path: String, _ more: String = "") -> [String: String] {
    [
      "AUTH_PASSWORD_VALIDATORS":
        #"[{"NAME": "MinimumLengthValidator"}, {"NAME": "PwnedPasswordsValidator", "OPTIONS": {"file": "\#(path)"\#(more)}}]"#
    ]
  }

  private static func link(_ harness: Harness, _ client: any TestClientProtocol) async throws -> String {
    try await harness.addUser()
    _ = try await client.requestReset(email: "alice@example.com")
    return try await harness.link()
  }

  @Test func `is refused, in the reader's language, and the link stays usable`() async throws {
    let lists = try Lists()
    let harness = try Harness()
    try await harness.run(Self.setting(try lists.filter(of: [Self.leaked, "1234"]))) { client in
      let link = try await Self.link(harness, client)
      #expect(
        try await client.get(link).json["password_rules"] as? [String] == [
          "Your password must contain at least 8 characters.", "Your password must contain at most 1024 characters.",
          "Your password can’t be one that has appeared in a data breach.",
        ])
      let body = #"{"new_password1": "\#(Self.leaked)", "new_password2": "\#(Self.leaked)", "locale": "fr"}"#
      let refused = try await client.send(.post, link, body: body)
      #expect(refused.status == 400 && refused.fieldCodes == ["new_password2": ["password_pwned"]])
      #expect(refused.text.contains("Ce mot de passe figure dans une fuite de données."))
      // It is looked up only if the other rules accept it.
      #expect(try await client.setPassword(link, "1234").fieldCodes == ["new_password2": ["password_too_short"]])
      #expect(try await client.setPassword(link, Self.leaked, Self.other).fieldCodes == ["new_password2": ["password_mismatch"]])
      let check = try await client.send(.post, link, body: #"{"new_password1": "\#(Self.leaked)", "check_only": true}"#)
      #expect(check.fieldCodes == ["new_password1": ["password_pwned"]])
      #expect(try await client.setPassword(link, Self.other).status == 200)
    }
  }

  @Test func `is refused after a refresh of the filter, without a restart`() async throws {
    let lists = try Lists()
    let harness = try Harness()
    let path = try lists.filter(of: ["another"])
    try await harness.run(Self.setting(path)) { client in
      let link = try await Self.link(harness, client)
      #expect(try await client.send(.post, link, body: #"{"new_password1": "\#(Self.leaked)", "check_only": true}"#).status == 200)
      _ = try lists.filter(of: ["another", Self.leaked])
      #expect(try await client.setPassword(link, Self.leaked).fieldCodes == ["new_password2": ["password_pwned"]])
    }
  }

  /// Shortening a file that is mapped into memory would end the process.
  @Test(arguments: ["accept", "refuse"]) func `in a file that was destroyed is decided by the setting, with a log line`(_ decision: String)
    async throws
  {
    let lists = try Lists()
    let harness = try Harness()
    let path = try lists.filter(of: (0..<10_000).map { "password-\($0)" })
    try await harness.run(Self.setting(path, #", "on_failure": "\#(decision)""#)) { client in
      let link = try await Self.link(harness, client)
      #expect(truncate(path, 600) == 0)
      let reply = try await client.setPassword(link, "password-77")
      #expect(reply.fieldCodes == (decision == "accept" ? [:] : ["new_password2": ["password_not_checked"]]))
      #expect(reply.status == (decision == "accept" ? 200 : 400))
      #expect(harness.log.lines.contains { $0.contains("A new password was not checked") && $0.contains(decision) })
      #expect(harness.log.lines.contains { $0.contains("could not be compared") && $0.contains("it is truncated") })
    }
  }
}

@Suite struct `A response of the range API` {
  private static let hash = SHA1Hash(of: "P@ssw0rd")
  private static let prefix = Array("21BD1".utf8)
  private static let line = "2DC183F740EE76F27B78EB39C8AD972A757"
  private static let other = "0018A45C4D1DEF81644B54AB7F969B88D65:10"

  @Test func `contains the hash or not`() throws {
    for (response, isFound) in [
      ("\(Self.other)\r\n\(Self.line):52579", true), ("\(Self.line):1\n", true), ("\(Self.line.lowercased()):1\r\n", true), (Self.other, false),
      // Padding has the count 0.
      ("\(Self.line):0\r\n\(Self.other)\r\n", false),
    ] { #expect(try RangeAPI.contains(Self.hash, Array(response.utf8), prefix: Self.prefix) == isFound, "\(response)") }
  }

  @Test(arguments: [
    "", "<html>Sign in to this network</html>", "\(line):1\r\n0018A45C4D1DEF8", "\(line)", "\(line):", "\(line):x", "21BD1\(line):1", "{}", "\n",
    "\0",
  ]) func `of another form proves nothing`(_ response: String) {
    #expect(throws: RangeAPI.Failure.self) { try RangeAPI.contains(Self.hash, Array(response.utf8), prefix: Self.prefix) }
  }

  @Test func `that is missing three times stops requests for ten seconds, except one that finds out whether it is back`() {
    var pause = FailurePause()
    let start = ContinuousClock.now
    func admits(after seconds: Int) -> Bool { pause.admits(at: start + .seconds(seconds)) }
    for _ in 0..<3 {
      #expect(admits(after: 0))
      pause.recordFailure(at: start)
    }
    #expect(!admits(after: 9))
    #expect(admits(after: 10))
    #expect(!admits(after: 10))
    pause.recordFailure(at: start + .seconds(11))
    #expect(!admits(after: 20))
    #expect(admits(after: 21))
    pause.recordSuccess()
    for _ in 0..<5 { #expect(admits(after: 21)) }
  }
}
