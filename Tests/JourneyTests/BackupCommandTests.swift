import Foundation
import GRDB
import PasswordReset
import SQLiteStore
import Testing

/// `password-reset backup`, as an operator runs it.
@Suite struct `The backup command` {
  private static let database = "password-reset.sqlite3"

  private let folder: Folder
  private let path: String

  init() throws {
    folder = try Folder()
    path = "\(folder.path)/\(Self.database)"
  }

  private func sql<Value>(_ name: String, _ work: (Database) throws -> Value) throws -> Value {
    var configuration = Configuration()
    configuration.busyMode = .timeout(5)
    return try DatabaseQueue(path: "\(folder.path)/\(name)", configuration: configuration).inDatabase(work)
  }

  private func users(in name: String) throws -> Int { try sql(name) { db in try Int.fetchOne(db, sql: "SELECT count(*) FROM auth_user") ?? 0 } }

  /// What there is of a copy, whole or not.
  private func copies() throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.hasPrefix("copy") }.sorted()
  }

  /// Adds users in pairs until it is cancelled; how many pairs.
  private func addPairs(to store: SQLiteStore) async throws -> Int {
    var pairs = 0
    while !Task.isCancelled {
      let names = ["a\(pairs)", "b\(pairs)"]
      _ = try await store.add(names.map { UserRecord(username: $0, email: "\($0)@example.com", password: "!", dateJoined: "2026-01-01 00:00:00") })
      pairs += 1
    }
    return pairs
  }

  @Test func `ends while others write without a pause, and holds one moment of the database`() async throws {
    let store = try SQLiteStore(path: path)
    try store.migrate()
    // Several steps of the copy.
    try sql(Self.database) { db in try db.execute(sql: "CREATE TABLE ballast (data BLOB); INSERT INTO ballast VALUES (zeroblob(20000000))") }
    let writer = Task { try await addPairs(to: store) }
    defer { writer.cancel() }
    try await eventually("the writer") { try users(in: Self.database) > 0 }
    let run = try await folder.run(["backup", "copy.sqlite3"])
    writer.cancel()
    let pairs = try await writer.value
    try #require(run.status == 0, "\(run.errors)")
    #expect(try copies() == ["copy.sqlite3"])
    let attributes = try FileManager.default.attributesOfItem(atPath: folder.path + "/copy.sqlite3")
    #expect(attributes[.posixPermissions] as? Int == 0o600)
    let size = try #require(attributes[.size] as? Int)
    let count = try users(in: "copy.sqlite3")
    #expect(run.output == "Backed up \(count) users to copy.sqlite3 (\(size) bytes).\n")
    // A pair is added in one transaction.
    #expect(count > 0 && count % 2 == 0 && count <= 2 * pairs)
    #expect(try sql("copy.sqlite3") { db in try String.fetchOne(db, sql: "PRAGMA integrity_check") } == "ok")
    #expect(try sql("copy.sqlite3") { db in try String.fetchOne(db, sql: "PRAGMA journal_mode") } == "delete")
  }

  @Test func `gives a file that the service starts on, with its users and what it owes`() async throws {
    let server = try await Server.start(folder, ["ADMIN_PORT": "0"])
    let store = try SQLiteStore(path: path)
    try await store.enqueue(
      .email("late@example.com"), audit: AuditRecord(.requested), locale: "de", requestID: "r1", at: Date(), due: Date().addingTimeInterval(3600))
    #expect(try await folder.run(["backup", "copy.sqlite3"]).status == 0)
    server.process.terminate()
    #expect(await server.process.exited() == 0)
    let copy = ["DATABASE_URL": "sqlite:copy.sqlite3"]
    #expect(try await folder.run(["outbox", "list"], copy).output.contains("late@example.com"))
    let restored = try await Server.start(folder, copy.merging(["ADMIN_PORT": "0"]) { $1 })
    #expect(try await restored.post("/password-reset", #"{"email":"demo@example.com"}"#) == 202)
    try await eventually("the mail") { try folder.mails().contains("demo@example.com") }
    restored.process.terminate()
    #expect(await restored.process.exited() == 0)
  }

  @Test(arguments: ["copy.sqlite3", "copy.sqlite3-wal", "copy.sqlite3-journal"])
  func `leaves a file as it is that is there already, and what SQLite would take for part of the new one`(_ name: String) async throws {
    #expect(try await folder.run(["migrate"]).status == 0)
    try "mine".write(toFile: "\(folder.path)/\(name)", atomically: false, encoding: .utf8)
    let run = try await folder.run(["backup", "copy.sqlite3"])
    #expect(run.status == 1 && run.errors.contains("\(name) is there already") && run.output.isEmpty)
    #expect(try String(contentsOfFile: "\(folder.path)/\(name)", encoding: .utf8) == "mine")
    #expect(try copies() == [name])
  }

  @Test func `does not follow a link that leads nowhere`() async throws {
    #expect(try await folder.run(["migrate"]).status == 0)
    try FileManager.default.createSymbolicLink(atPath: folder.path + "/copy.sqlite3", withDestinationPath: folder.path + "/elsewhere")
    let run = try await folder.run(["backup", "copy.sqlite3"])
    #expect(run.status == 1 && run.errors.contains("copy.sqlite3 is there already"))
    #expect(try copies() == ["copy.sqlite3"])
    #expect(!FileManager.default.fileExists(atPath: folder.path + "/elsewhere"))
  }

  @Test func `exits 78 without a database, and makes nothing`() async throws {
    let run = try await folder.run(["backup", "copy.sqlite3"])
    #expect(run.status == 78 && run.errors.contains("DATABASE_URL"))
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).isEmpty)
    try Data("no database at all, but long enough to be taken for one".utf8).write(to: URL(fileURLWithPath: path))
    let broken = try await folder.run(["backup", "copy.sqlite3"])
    #expect(broken.status == 78 && broken.errors.contains("DATABASE_URL"))
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == [Self.database])
  }

  @Test func `keeps no copy of a damaged database`() async throws {
    #expect(try await folder.run(["migrate"]).status == 0)
    let offset = try sql(Self.database) { db in
      try db.execute(sql: "PRAGMA journal_mode = DELETE")
      return try Int.fetchOne(
        db, sql: "SELECT (rootpage - 1) * page_size FROM sqlite_master, pragma_page_size WHERE name = 'password_reset_audit'")
    }
    let file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
    try file.seek(toOffset: UInt64(try #require(offset)))
    try file.write(contentsOf: Data(repeating: 0xFF, count: 16))
    try file.close()
    let run = try await folder.run(["backup", "copy.sqlite3"])
    #expect(run.status == 78 && run.errors.contains("is damaged"), "\(run.errors)")
    #expect(try copies().isEmpty)
  }

  @Test func `takes the database of a site whose constraints call functions of Django`() async throws {
    #expect(try await folder.run(["migrate"]).status == 0)
    try sql(Self.database) { db in
      db.add(function: DatabaseFunction("regexp", argumentCount: 2, pure: true) { _ in true })
      try db.execute(sql: "CREATE TABLE site_page (slug TEXT CHECK (slug REGEXP '^[a-z]+$')); INSERT INTO site_page VALUES ('home')")
    }
    let run = try await folder.run(["backup", "copy.sqlite3"])
    #expect(run.status == 0, "\(run.errors)")
    #expect(try sql("copy.sqlite3") { db in try String.fetchOne(db, sql: "SELECT slug FROM site_page") } == "home")
  }

  @Test func `exits 1 with the reason if the file cannot be made, and 64 without a name`() async throws {
    #expect(try await folder.run(["migrate"]).status == 0)
    let run = try await folder.run(["backup", "nowhere/copy.sqlite3"])
    #expect(run.status == 1 && run.errors.contains("nowhere/copy.sqlite3 failed: No such file or directory"))
    #expect(try await folder.run(["backup"]).status == 64)
    #expect(try await folder.run(["backup", ""]).status == 64)
  }
}
