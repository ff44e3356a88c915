import Credentials
import Foundation
import GRDB
import PasswordReset
import Testing

@testable import App

/// `password-reset users …`, as an operator runs it.
@Suite struct `The users command` {
  private let folder: Folder
  private let environment = [
    "SECRET_KEY": Harness.secretKey, "EMAIL_BACKEND": "dummy", "PASSWORD_HASHER_OPTIONS": "iterations=10", "RESET_URL": "https://e.org/{uid}/{token}",
  ]

  init() throws { folder = try Folder() }

  private func users(_ arguments: [String], input: String = "") async throws -> (status: Int32, output: String, errors: String) {
    try await folder.run(["users"] + arguments, environment, input: input)
  }

  private func sql<Value: Sendable>(_ work: @Sendable (Database) throws -> Value) throws -> Value {
    var configuration = Configuration()
    configuration.busyMode = .timeout(5)
    return try DatabaseQueue(path: folder.path + "/password-reset.sqlite3", configuration: configuration).write(work)
  }

  private func add(_ name: String, password: String? = nil) async throws {
    let arguments = ["add", name, "--email", "\(name)@example.com"] + (password == nil ? [] : ["--password-stdin"])
    #expect(try await users(arguments, input: password ?? "").status == 0)
  }

  @Test func `adds and lists users, refuses what is wrong, and stores hashes alone`() async throws {
    let add = ["add", "alice", "--email", "Alice@EXAMPLE.com", "--first-name", "Alice", "--password-stdin"]
    #expect(try await users(add, input: "1234\n").errors.contains("too short"))
    #expect(try await users(add, input: "a-Fine-pass-77\n").status == 0)
    let twice = try await users(add, input: "a-Fine-pass-77\n")
    #expect(twice.status == 1 && twice.errors.contains("already"))
    #expect(try await users(["add", "bob", "--email", "nobody"]).errors.contains("email"))
    for name in ["bo\u{1B}b", "b b", "", String(repeating: "b", count: 151), "\u{FDFA}" + String(repeating: "b", count: 140)] {
      #expect(try await users(["add", name, "--email", "bob@example.com"]).errors.contains("username"), "\(name)")
    }
    try await self.add("bob")
    try sql { db in try db.execute(sql: "UPDATE auth_user SET email = 'bo' || char(27) || 'b' WHERE username = 'bob'") }
    let lines = try await users(["list"]).output.split(separator: "\n").map {
      $0.split(separator: " ", omittingEmptySubsequences: true).joined(separator: " ")
    }
    #expect(Array(lines.dropFirst()) == ["1 active alice Alice@example.com", "3 no password bob bo\u{FFFD}b"])
    let shown = try await users(["show", "alice", "--json"]).output
    #expect(shown.contains(#""first_name":"Alice""#) && shown.contains(#""password":"pbkdf2_sha256""#) && !shown.contains("pbkdf2_sha256$"))
    #expect(try await users(["show", "nobody"]).status == 67)
  }

  @Test func `names damaged rows, lists the others, and exits 1`() async throws {
    for name in ["alice", "bob", "carol"] { try await add(name) }
    try sql { db in try db.execute(sql: "UPDATE auth_user SET email = x'00' WHERE username = 'bob'") }
    for command in ["list", "export"] {
      let run = try await users([command])
      #expect(run.status == 1 && run.errors.contains("user 2"))
      #expect(run.output.contains("alice") && run.output.contains("carol") && !run.output.contains("bob"))
    }
  }

  @Test func `sets and checks a password, by the rules, and leaves an audit row and a notice`() async throws {
    try await add("alice", password: "a-Fine-pass-77")
    func check(_ password: String) async throws -> Int32 { try await users(["check-password", "alice", "--password-stdin"], input: password).status }
    let set = ["set-password", "alice", "--password-stdin"]
    for (password, message) in [("short", "too short"), ("alice@example.com", "too similar"), ("a\0-Fine-pass-77", "Null"), ("", "--password-stdin")]
    {
      let run = try await users(set, input: password)
      #expect(run.status != 0 && run.errors.contains(message), "\(run)")
    }
    #expect(try await check("a-Fine-pass-77\n") == 0)
    #expect(try await users(set, input: " another-Fine-78 \n").status == 0)
    #expect(try await check(" another-Fine-78 ") == 0)
    #expect(try await check("another-Fine-78") == 1)
    #expect(try await check("a-Fine-pass-77") == 1)
    let left = try sql { db in
      try String.fetchAll(db, sql: "SELECT event FROM password_reset_audit UNION ALL SELECT kind FROM password_reset_outbox")
    }
    #expect(left == ["set_by_staff", "changed_mail"])
    #expect(try await users(["set-password", "nobody", "--password-stdin"], input: "a-Fine-pass-77").status == 67)
  }

  @Test func `takes a piped password whole, however it comes, and refuses an empty one`() async throws {
    let pipe = Pipe()
    let command = try RunningCommand(
      ["users", "add", "alice", "--email", "alice@example.com", "--password-stdin"], environment, in: folder.path, pipe: pipe)
    try pipe.fileHandleForWriting.write(contentsOf: Data("a-Fine-pass".utf8))
    // The first piece must have been read before the second comes.
    try await eventually("the first piece to be read") { pipe.isDrained }
    try pipe.fileHandleForWriting.write(contentsOf: Data("-in-two-pieces\n".utf8))
    try pipe.fileHandleForWriting.close()
    #expect(await command.exited() == 0)
    let check = ["check-password", "alice", "--password-stdin"]
    #expect(try await users(check, input: "a-Fine-pass-in-two-pieces").status == 0)
    #expect(try await users(check, input: "a-Fine-pass").status == 1)
    for input in ["", "\n", String(repeating: "x", count: 70_000)] {
      #expect(try await users(["add", "bob", "--email", "bob@example.com", "--password-stdin"], input: input).status != 0)
    }
  }

  @Test func `refuses the present password as the new one, if that is a rule`() async throws {
    try await add("alice", password: "a-Fine-pass-77")
    let rules = environment.merging(["AUTH_PASSWORD_VALIDATORS": #"[{"NAME": "CurrentPasswordValidator"}]"#]) { $1 }
    let run = try await folder.run(["users", "set-password", "alice", "--password-stdin"], rules, input: "a-Fine-pass-77")
    #expect(run.status == 1 && run.errors.contains("differ"))
  }

  @Test func `deactivates and activates, and prints a link that works once and is audited`() async throws {
    try await add("alice")
    let link = try await users(["link", "alice"])
    let match = try #require(link.output.wholeMatch(of: /https:\/\/e\.org\/MQ\/(\S+)\n/))
    let generator = PasswordResetTokenGenerator(secretKey: Harness.secretKey, timeout: 3600)
    let password = try #require(try sql { db in try String.fetchOne(db, sql: "SELECT password FROM auth_user") })
    let subject = TokenSubject(id: 1, password: password, lastLogin: nil, email: "alice@example.com")
    guard case .valid = generator.check(String(match.1), for: subject, at: Date()) else { throw Failure(message: "the link is not valid") }
    #expect(try sql { db in try String.fetchAll(db, sql: "SELECT event FROM password_reset_audit") } == ["link_printed"])

    #expect(try await users(["deactivate", "alice"]).status == 0)
    for command in [["link", "alice"], ["set-password", "alice", "--password-stdin"]] {
      let run = try await users(command, input: "a-Fine-pass-77")
      #expect(run.status == 1 && run.errors.contains("inactive"))
    }
    #expect(try await users(["activate", "alice"]).status == 0)
    #expect(try await users(["link", "alice"]).status == 0)
    #expect(try await users(["activate", "nobody"]).status == 67)
  }

  @Test(arguments: ["csv", "jsonl", "json"])
  func `exports what it imports, to the last character`(_ ending: String) async throws {
    let hashes = [
      "pbkdf2_sha256$1$salt$AAAA", "argon2$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$AAAA",
      "bcrypt$$2b$12$N9qo8uLOickgx2ZMRZoMye9fCoc9Nuz52ZBk/0FX4TNHEyyqbVRGG", "!unusable",
    ]
    try await add("first")
    try sql { [hashes] db in
      for (index, name) in ["Comma, \"quoted\"", "two\nlines\r\n", " blanks ", "e\u{301} 😀 ,"].enumerated() {
        try db.execute(
          sql: "INSERT INTO auth_user VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
          arguments: [
            10 + index, hashes[index], index == 0 ? nil : "2026-01-02 03:04:05.678901", index == 1, "user\(index)", name, "u\(index)@example.com",
            index == 2,
            index != 3, "2025-01-02 03:04:05", "Ä",
          ])
      }
    }
    let rows: @Sendable (Database) throws -> [String] = { db in try Row.fetchAll(db, sql: "SELECT * FROM auth_user ORDER BY id").map(\.description) }
    let before = try sql(rows)
    #expect(try await users(["export", "--output", "users.\(ending)"]).status == 0)
    let attributes = try FileManager.default.attributesOfItem(atPath: folder.path + "/users.\(ending)")
    #expect(attributes[.posixPermissions] as? Int == 0o600)
    #expect(try await users(["export", "--output", "users.\(ending)"]).errors.contains("exists"), "it was written over")

    try sql { db in try db.execute(sql: "DELETE FROM auth_user") }
    let first = try await users(["import", "users.\(ending)"])
    #expect(first.status == 0 && first.output == "5 users added, 0 were there already, 0 refused.\n", "\(first)")
    #expect(try sql(rows) == before)
    let second = try await users(["import", "users.\(ending)"])
    #expect(second.status == 0 && second.output == "0 users added, 5 were there already, 0 refused.\n")
  }

  @Test func `imports what it can, and names the rest with file, line and reason`() async throws {
    try await add("taken")
    let file = """
      username,email,password,is_staff,id,date_joined
      alice,alice@example.com,,true,,
      bob,nobody,,,,
      "two
      lines",x@example.com,,,,

      carol,carol@example.com,md5$abc$def,,,
      dave,dave@example.com,secret-in-the-clear,,,
      erin,erin@example.com,,maybe,,
      frank,frank@example.com,,,1,
      taken,other@example.com,,,,
      gina,gina@example.com
      hugo,hugo@example.com,scrypt$1152921504606846976$salt$8$1$AAAA,,,
      ida,ida@example.com,,,,yesterday
      kim,kim@example.com,,,,2026-02-30T00:00:00Z
      leo,leo@example.com,,,,2026-02-03T24:00:00Z
      mia,mia@example.com,,,9223372036854775807,
      ned,ned@example.com,pbkdf2_sha256$1$\(String(repeating: "s", count: 128))$AAAA,,,
      alice,alice@example.com,,true,,
      ,empty@example.com,,,,
      judy,judy@example.com,!x,,-5,
      Ａlan,alan@example.com,,,,
      """
    try Data(file.utf8).write(to: URL(fileURLWithPath: folder.path + "/in.csv"))
    let run = try await users(["import", "in.csv"])
    #expect(run.status == 1)
    #expect(run.output == "2 users added, 1 were there already, 16 refused.\n")
    for line in [
      "in.csv:3: email", "in.csv:4: username", "in.csv:7: password", "in.csv:8: password", "in.csv:9: is_staff", "in.csv:10: id",
      "in.csv:11: username",
      "in.csv:12: there are 2 values", "in.csv:13: password", "in.csv:14: date_joined", "in.csv:15: date_joined", "in.csv:16: date_joined",
      "in.csv:17: id", "in.csv:18: password", "in.csv:20: username",
      "in.csv:21: id",
    ] {
      #expect(run.errors.contains(line), "\(line) in \(run.errors)")
    }
    #expect(!run.errors.contains("secret-in-the-clear"))
    #expect(try sql { db in try String.fetchAll(db, sql: "SELECT username FROM auth_user ORDER BY id") } == ["taken", "alice", "Alan"])
  }

  @Test(arguments: [
    ("a.csv", "username,email\nbob,\na\rl,\n", "a.csv:3: a carriage return stands alone"),
    ("a.csv", "username\nbob\n" + String(repeating: ",", count: 5000), "a.csv:3: this line has over 100 values"),
    ("a.json", "[{\"username\": \"al\"}]", "a.json:1: model is missing"),
    ("a.json", "[{\"model\": \"accounts.user\", \"pk\": 1, \"fields\": {}}]", "1 objects of other models"),
    (
      "a.jsonl", "{\"username\": \"bob\"}\n{\"username\": \"al\", \"id\": 99999999999999999999999}\n",
      "a.jsonl:2: this is not a JSON object, or a number"
    ),
    ("a.csv", "", "a.csv:1: the file is empty"), ("a.csv", "name,email\n", "a.csv:1: there is no column"),
    ("a.csv", "email\n", "a.csv:1: the first line"),
    ("a.csv", "username,username\n", "a.csv:1: the first line"), ("a.csv", "username\nbob\n\"al", "a.csv:3: a quote that opens"),
    ("a.csv", "username\nbob\na\"l\n", "a.csv:3: a quote stands"), ("a.csv", "username\nbob\n\"a\"l\n", "a.csv:3: behind a quoted"),
    ("a.jsonl", "{\"username\": \"bob\"}\n{\"username\": 5}\n", "a.jsonl:2: username has the wrong type"),
    ("a.jsonl", "{\"username\": \"bob\"}\n\n{\"username\"\n", "a.jsonl:3: this is not a JSON object"),
    ("a.jsonl", "{\"username\": \"bob\"}\n{\"username\": \"al\", \"emial\": \"x@y.co\"}\n", "a.jsonl:2: there is no member \"emial\""),
    ("a.json", "{}", "a.json:1: this is not a JSON array"), ("a.json", "[{\"model\": \"auth.user\"", "a.json:1: an object that opens here"),
    ("a.json", "[]]", "a.json:1: there is something behind"), ("a.json", "[{}\n {}]", "a.json:2: a comma"),
    ("a.json", "[{}, ]", "a.json:1: a JSON object must"),
    ("a.json", "[\n{\"model\": \"auth.user\", \"pk\": \"x\", \"fields\": {}}]", "a.json:2: pk has the wrong type"),
    ("a.json", "[\n{\"model\": \"auth.user\", \"pk\": 3}]", "a.json:2: fields is missing"), ("a.txt", "", "--format"),
  ])
  func `tells where a file is broken, and keeps what came before`(_ name: String, _ text: String, _ message: String) async throws {
    try Data(text.utf8).write(to: URL(fileURLWithPath: "\(folder.path)/\(name)"))
    let run = try await users(["import", name])
    #expect(run.status != 0 && run.errors.contains(message), "\(run)")
    guard text.contains("bob") else { return }
    #expect(try sql { db in try String.fetchAll(db, sql: "SELECT username FROM auth_user") } == ["bob"])
  }

  @Test func `tells of a file that cannot be read`() async throws {
    for name in ["nowhere.csv", folder.path] {
      let run = try await users(["import", name, "--format", "csv"])
      #expect(run.status == 1 && run.errors.contains("cannot be read"))
    }
    try Data("username\nb\u{e9}b\n".data(using: .isoLatin1) ?? Data()).write(to: URL(fileURLWithPath: folder.path + "/latin.csv"))
    #expect(try await users(["import", "latin.csv"]).errors.contains("latin.csv:2: this is not UTF-8"))
    try Data(("username\n\"" + String(repeating: "a", count: 2 << 20)).utf8).write(to: URL(fileURLWithPath: folder.path + "/long.csv"))
    #expect(try await users(["import", "long.csv"]).errors.contains("long.csv:2: what begins here has over a million bytes"))
  }

  @Test func `killed in the middle of an import leaves whole batches, and the next run completes it`() async throws {
    let lines = (0..<30_000).map { "user\($0),user\($0)@example.com" }
    try Data((["username,email"] + lines).joined(separator: "\n").utf8).write(to: URL(fileURLWithPath: folder.path + "/many.csv"))
    try await add("somebody")
    let command = try RunningCommand(["users", "import", "many.csv"], environment, in: folder.path)
    try await eventually("some batches") { try sql { db in try Int.fetchOne(db, sql: "SELECT count(*) FROM auth_user") ?? 0 } > 2000 }
    command.kill()
    await command.exited()
    let count = try sql { db in try Int.fetchOne(db, sql: "SELECT count(*) FROM auth_user") ?? 0 } - 1
    #expect(count % 1000 == 0 && count < 30_000)
    let again = try await users(["import", "many.csv"])
    #expect(again.status == 0 && again.output == "\(30_000 - count) users added, \(count) were there already, 0 refused.\n")
  }
}
