import Foundation
import GRDB
import PasswordReset
import PostgresStore
import SQLiteStore

/// A database of this run: a file, or a database of a PostgreSQL server.
struct TestDatabase {
  /// The scheme of the URL of a file.
  private static let sqlite = "sqlite:"

  /// The value of `DATABASE_URL`.
  let url: String
  private let name: String
  private let server: String?

  /// Creates an empty database.
  /// - Parameters:
  ///   - server: the URL of a PostgreSQL server, without a database, or `nil` for a file in `directory`.
  ///   - name: a name that no other database of this run has.
  init(_ name: String, on server: String?, in directory: TemporaryDirectory) throws {
    self.name = name
    self.server = server
    if let server {
      url = "\(server)/\(name)"
      try Self.run("createdb", ["--maintenance-db=\(server)/postgres", name])
      if let table = TestKey.current.createTable(isPostgreSQL: true) { try Self.run("psql", ["--quiet", "--command", table, url]) }
    } else {
      let path = "\(directory.path)/\(name).sqlite3"
      url = Self.sqlite + path
      if let table = TestKey.current.createTable(isPostgreSQL: false) { try DatabaseQueue(path: path).write { try $0.execute(sql: table) } }
    }
  }

  /// Opens the database with this URL.
  static func open(_ url: String) throws -> any Store {
    if let path = path(url) { try SQLiteStore(path: path) } else { try PostgresStore(PostgresAddress(url: url)) }
  }

  private static func path(_ url: String) -> String? { url.hasPrefix(sqlite) ? String(url.dropFirst(sqlite.count)) : nil }

  /// Collects statistics about new rows, as a server does by itself a minute later.
  func analyze() throws {
    if server != nil { try Self.run("vacuumdb", ["--analyze", "--quiet", "--dbname=\(url)"]) }
  }

  /// Removes the database now, because it may be in memory. An error does not matter: the whole folder or server is removed later.
  func remove() {
    if let path = Self.path(url) {
      for suffix in ["", "-wal", "-shm"] { try? FileManager.default.removeItem(atPath: path + suffix) }
    } else if let server {
      try? Self.run("dropdb", ["--maintenance-db=\(server)/postgres", "--force", name])
    }
  }

  /// Runs one of PostgreSQL's programs.
  private static func run(_ program: String, _ arguments: [String]) throws {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [program] + arguments
    try process.run()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else { throw TimingError(description: "\(program) failed with status \(process.terminationStatus)") }
  }
}
