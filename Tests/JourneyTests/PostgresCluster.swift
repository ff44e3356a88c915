import Foundation
import PostgresStore
import Synchronization

/// A PostgreSQL server for the tests of this process, in a temporary folder, on a Unix socket only.
///
/// PostgreSQL refuses to run as root, so root starts it as another user. A shell stops it when this process ends, even by a
/// crash: the shell then reads the end of its input.
struct PostgresCluster: Sendable {
  struct Fault: Error, CustomStringConvertible {
    var description: String
  }

  /// The number of a user and a group that own nothing.
  private static let ordinaryUser: UInt32 = 65534

  /// Starts once per process. If PostgreSQL is not installed, every test that needs it fails.
  private static let shared = Result { try PostgresCluster() }
  private static let count = Atomic(0)

  let folder: String
  private let binaries: String
  /// Keeps the shell's input open.
  private let supervisor: FileHandle

  /// The server's socket.
  static var socket: String { get throws { try shared.get().folder + "/.s.PGSQL.5432" } }

  /// Returns the URL of a new database.
  /// - Parameter template: the name of the database of which it is a copy, or `nil` for an empty one.
  static func newDatabase(template: String? = nil) throws -> String {
    let cluster = try shared.get()
    let name = "test\(count.wrappingAdd(1, ordering: .relaxed).newValue)"
    _ = try cluster.sql("CREATE DATABASE \(name)\(template.map { " TEMPLATE \($0)" } ?? "")", in: "postgres")
    return cluster.url(of: name)
  }

  /// Deletes a database, for tests that need thousands of them.
  static func deleteDatabase(_ url: String) throws { _ = try shared.get().sql("DROP DATABASE \(name(in: url)) WITH (FORCE)", in: "postgres") }

  /// Returns the name of the database in a URL of ``newDatabase(template:)``.
  static func name(in url: String) -> String { url.split(separator: "?")[0].split(separator: "/").last.map(String.init) ?? "" }

  /// Runs statements as the superuser, and returns the values, one per line, separated by `|`.
  @discardableResult
  static func sql(_ statements: String, url: String) throws -> String {
    try shared.get().sql(statements, in: name(in: url))
  }

  private func url(of database: String) -> String { "postgresql:///\(database)?host=\(folder)&user=postgres" }

  private init() throws {
    let versions = try? FileManager.default.contentsOfDirectory(atPath: "/usr/lib/postgresql").sorted {
      $0.compare($1, options: .numeric) == .orderedAscending
    }
    let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
    let folders = (versions ?? []).reversed().map { "/usr/lib/postgresql/\($0)/bin" } + path.split(separator: ":").map(String.init)
    guard let binaries = folders.first(where: { FileManager.default.isExecutableFile(atPath: $0 + "/initdb") }) else {
      throw Fault(description: "PostgreSQL is not installed; `make test` installs Debian's package postgresql")
    }
    self.binaries = binaries
    // The path of a Unix socket has at most 107 characters.
    var template = Array("/tmp/prpg-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw Fault(description: "cannot create a folder in /tmp: \(String(cString: strerror(errno)))") }
    folder = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    if getuid() == 0 { chown(folder, Self.ordinaryUser, Self.ordinaryUser) }
    // A test needs no durability. The server answers as if each commit had been synced.
    let script = """
      export PATH=\(binaries):$PATH
      cd \(folder)
      initdb --pgdata=data --username=postgres --auth=trust --encoding=UTF8 --locale=C.UTF-8 --no-sync >log 2>&1 || { cat log; exit 1; }
      cat >>data/postgresql.conf <<END
      listen_addresses = ''
      unix_socket_directories = '\(folder)'
      fsync = off
      max_connections = 300
      shared_buffers = 32MB
      log_statement = none
      END
      pg_ctl start --pgdata=data --log=log --wait >/dev/null || { cat log; exit 1; }
      echo ready
      # Ends with the process that holds the other end of the pipe.
      cat >/dev/null
      pg_ctl stop --pgdata=data --mode=immediate >/dev/null
      cd / && rm -rf \(folder)/data \(folder)/log \(folder)/.s.* && rmdir \(folder) 2>/dev/null
      """
    supervisor = try Self.start(script)
  }

  /// Starts the shell, and returns the pipe that is its standard input once the server is ready.
  private static func start(_ script: String) throws -> FileHandle {
    let process = Process()
    let isRoot = getuid() == 0
    process.executableURL = URL(fileURLWithPath: isRoot ? "/usr/bin/setpriv" : "/bin/sh")
    process.arguments = (isRoot ? ["--reuid=\(ordinaryUser)", "--regid=\(ordinaryUser)", "--clear-groups", "/bin/sh"] : []) + ["-c", script]
    let (input, output) = (Pipe(), Pipe())
    process.standardInput = input
    process.standardOutput = output
    process.standardError = output
    // Other child processes must not keep the pipe open.
    _ = fcntl(input.fileHandleForWriting.fileDescriptor, F_SETFD, FD_CLOEXEC)
    try process.run()
    var text = ""
    while !text.contains("ready\n") {
      let data = output.fileHandleForReading.availableData
      guard !data.isEmpty else { throw Fault(description: "PostgreSQL does not start: \(text)") }
      text += String(decoding: data, as: UTF8.self)
    }
    return input.fileHandleForWriting
  }

  private func sql(_ statements: String, in database: String) throws -> String {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: binaries + "/psql")
    process.arguments = ["-XAtq", "-v", "ON_ERROR_STOP=1", "-h", folder, "-U", "postgres", "-d", database, "-c", statements]
    let (output, errors) = (Pipe(), Pipe())
    process.standardOutput = output
    process.standardError = errors
    try process.run()
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    let message = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    guard process.terminationStatus == 0 else { throw Fault(description: message) }
    return text.trimmingCharacters(in: .newlines)
  }
}
