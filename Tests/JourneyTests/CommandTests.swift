import Foundation
import FoundationNetworking
import GRDB
import Synchronization
import Testing

@testable import App

/// The program itself, as an operator runs it.
@Suite struct `The command` {
  @Test func `does not start on a wrong configuration, names the setting, and exits 78`() async throws {
    let folder = try Folder()
    let run = try await folder.run(["serve"], ["SECRET_KEY": "hunter2", "EMAIL_BACKEND": "pigeon", "HTTP_PORT": "x", "EMAIL_USE_TSL": "1"])
    #expect(run.status == 78)
    for name in ["SECRET_KEY", "EMAIL_BACKEND", "HTTP_PORT", "EMAIL_USE_TSL"] { #expect(run.errors.contains(name)) }
    for value in ["hunter2", "pigeon"] { #expect(!run.errors.contains(value)) }
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).isEmpty)
  }

  @Test(arguments: [
    [], ["serve"], ["migrate"], ["users"], ["users", "add"], ["users", "list"], ["users", "show"],
    ["users", "set-password"], ["users", "check-password"], ["users", "activate"], ["users", "deactivate"], ["users", "link"], ["users", "import"],
    ["users", "export"], ["mail"], ["mail", "preview"], ["mail", "templates"], ["outbox"], ["outbox", "list"], ["outbox", "show"],
    ["outbox", "retry"],
    ["outbox", "purge"], ["send-test-email"], ["check"], ["config"], ["backup"], ["audit"], ["health"],
  ])
  func `teaches with --help`(_ arguments: [String]) async throws {
    let run = try await Folder().run(arguments + ["--help"])
    #expect(run.status == 0)
    #expect(run.output.contains("OVERVIEW: ") && run.output.contains("USAGE: password-reset"))
  }

  @Test func `exits 64 on wrong usage`() async throws {
    let folder = try Folder()
    #expect(try await folder.run(["nonsense"]).status == 64)
    #expect(try await folder.run(["users", "add"]).status == 64)
  }

  @Test func `checks the configuration without making a database`() async throws {
    let folder = try Folder()
    let good = ["SECRET_KEY": Harness.secretKey, "EMAIL_BACKEND": "console", "PASSWORD_RESET_TIMEOUT": "259200"]
    let run = try await folder.run(["check"], good)
    #expect(run.status == 0)
    #expect(run.output.contains("warning: EMAIL_BACKEND") && run.output.contains("warning: PASSWORD_RESET_TIMEOUT"))
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).isEmpty)
    #expect(try await folder.run(["check"]).status == 78)
  }

  @Test func `checks a database without changing it`() async throws {
    let folder = try Folder()
    let settings = ["SECRET_KEY": Harness.secretKey, "EMAIL_BACKEND": "smtp", "DATABASE_URL": "sqlite:\(folder.path)/site.sqlite3"]
    let file = URL(fileURLWithPath: folder.path + "/site.sqlite3")
    let database = try DatabaseQueue(path: file.path)
    try database.inDatabase { db in try db.execute(sql: "CREATE TABLE auth_user (id INTEGER PRIMARY KEY, username TEXT)") }
    try database.close()
    let before = try Data(contentsOf: file)
    for command in ["check", "migrate", "serve"] {
      let foreign = try await folder.run([command], settings)
      let text = foreign.output + foreign.errors
      #expect(foreign.status == 78 && text.contains("auth_user") && text.contains("DATABASE_URL"), "\(command): \(text)")
      #expect(try Data(contentsOf: file) == before, "\(command)")
    }
    try Data("no database at all, but long enough to be taken for one".utf8).write(to: file)
    let broken = try await folder.run(["check"], settings)
    #expect(broken.status == 78 && broken.output.contains("E011") && broken.output.contains("DATABASE_URL"))
  }

  @Test(arguments: [
    ("HTTP_HOST", "nonsense.invalid", 1), ("EMAIL_FILE_PATH", "/proc/nowhere", 78), ("DATABASE_URL", "sqlite:/nowhere/at/all.sqlite3", 78),
  ])
  func `names a setting that only the start can tell to be wrong`(_ name: String, _ value: String, _ status: Int32) async throws {
    let good = ["SECRET_KEY": Harness.secretKey, "EMAIL_BACKEND": "file", "EMAIL_FILE_PATH": ".", "HTTP_PORT": "0"]
    let run = try await Folder().run(["serve"], good.merging([name: value]) { $1 })
    #expect(run.status == status && run.errors.contains(name), "\(run.errors)")
  }

  @Test func `says what is wrong when a test mail does not go`() async throws {
    let run = try await Folder().run(
      ["send-test-email", "a@example.com"],
      ["SECRET_KEY": Harness.secretKey, "EMAIL_BACKEND": "smtp", "EMAIL_HOST": "127.0.0.1", "EMAIL_PORT": "1", "EMAIL_TIMEOUT": "5"])
    #expect(run.status == 1)
    #expect(run.errors.contains("check EMAIL_HOST and EMAIL_PORT"))
  }

  @Test func `killed straight after a 202 loses nothing: the next start sends the mail`() async throws {
    let folder = try Folder()
    // The lease, which follows the time limit, must run out while the test waits: the kill may come after the row was taken.
    let environment = ["EMAIL_TIMEOUT": "1"]
    for _ in 1...5 {
      let server = try await Server.start(folder, environment)
      #expect(try await server.post("/password-reset", #"{"email":"demo@example.com"}"#) == 202)
      server.process.kill()
      await server.process.exited()
    }
    let last = try await Server.start(folder, environment)
    // A mail may be sent twice when the kill comes between the sending and its record, but none is lost.
    try await eventually("five different mails") {
      Set(try folder.mails().matches(of: /Message-Id: <(\S+)>/).map { String($0.1) }).count == 5
    }
    last.process.terminate()
    #expect(await last.process.exited() == 0)
  }

  @Test func `at trace level shows the token in the mail and nowhere else`() async throws {
    let folder = try Folder()
    let server = try await Server.start(folder, ["LOG_LEVEL": "trace"])
    #expect(try await server.post("/password-reset", #"{"email":"demo@example.com"}"#) == 202)
    try await eventually("the mail") { try folder.mails().contains("/password-reset/") }
    let link = try #require(try folder.mails().firstMatch(of: /http:\/\/localhost:\d+(\/password-reset\/\S+)/)?.1)
    #expect(try await server.post(String(link), #"{"new_password1":"weak","new_password2":"weak"}"#) == 400)
    #expect(try await server.post(String(link), #"{"new_password1":"a-Fine-pass-77","new_password2":"a-Fine-pass-77"}"#) == 200)
    #expect(try await server.post(String(link), #"{"new_password1":"a-Fine-pass-77","new_password2":"a-Fine-pass-77"}"#) == 400)
    server.process.terminate()
    #expect(await server.process.exited() == 0)

    let mac = String(link.suffix(32))
    #expect(mac.wholeMatch(of: /[0-9a-f]{32}/) != nil)
    let logs = try server.process.text("out") + server.process.text("err")
    #expect(logs.contains("UPDATE auth_user"))
    for secret in [mac, "a-Fine-pass-77", "demo@example.com"] {
      #expect(!logs.replacing(#"'{"email": "demo@example.com"}'"#, with: "").contains(secret))
    }
    for file in try FileManager.default.contentsOfDirectory(atPath: folder.path) where file.hasPrefix("password-reset.sqlite3") {
      let bytes = try Data(contentsOf: URL(fileURLWithPath: folder.path).appendingPathComponent(file))
      #expect(bytes.range(of: Data(mac.utf8)) == nil, "\(file)")
    }
  }

  @Test func `ends with 0 on SIGTERM, and tells when its port is taken`() async throws {
    let folder = try Folder()
    let server = try await Server.start(folder)
    let second = try await folder.run(["serve", "--dev"], ["HTTP_PORT": "\(server.port)", "EMAIL_BACKEND": "dummy"])
    #expect(second.status == 1 && second.errors.contains("HTTP_PORT"))
    server.process.terminate()
    #expect(await server.process.exited() == 0)
  }
}

/// `serve --dev` with its mails in files.
struct Server {
  let process: RunningCommand
  let port: Int

  static func start(_ folder: Folder, _ environment: [String: String] = [:]) async throws -> Server {
    let mails = ["HTTP_PORT": "0", "ADMIN_PORT": "0", "EMAIL_BACKEND": "file", "EMAIL_FILE_PATH": folder.path + "/mails"]
    let process = try RunningCommand(["serve", "--dev"], mails.merging(environment) { $1 }, in: folder.path)
    // Not by the log: the listener for this machine alone says there that it listens, too, and either may be the first.
    try await eventually("the server's address") { try process.text("err").contains(/:\d+\/password-reset --json/) }
    let match = try #require(try process.text("err").firstMatch(of: /:(\d+)\/password-reset --json/))
    return Server(process: process, port: try #require(Int(match.1)))
  }

  func post(_ path: String, _ body: String) async throws -> Int {
    var request = URLRequest(url: try #require(URL(string: "http://127.0.0.1:\(port)\(path)")))
    request.httpMethod = "POST"
    request.httpBody = Data(body.utf8)
    request.setValue("application/json", forHTTPHeaderField: "Content-Type")
    let (_, response) = try await URLSession.shared.data(for: request)
    return (response as? HTTPURLResponse)?.statusCode ?? 0
  }

  /// The port of the listener for this machine alone.
  func adminPort() async throws -> Int {
    try await eventually("the mailbox's address") { try process.text("err").contains("/mailbox") }
    let match = try #require(try process.text("err").firstMatch(of: /127\.0\.0\.1:(\d+)\/mailbox/))
    return try #require(Int(match.1))
  }
}
