import ArgumentParser
import Foundation
import SQLiteStore

struct BackupCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "backup", abstract: "Copy the database to a file, while the service runs.",
    discussion: """
      The file appears when it is whole, checked and on disk. It holds password hashes, so its owner alone may read it. SECRET_KEY is not in it, and
      is best kept elsewhere. A backup that was killed may leave FILE.partial-… behind, which can be deleted.

      To restore one, stop the service, remove the database with its -wal and -shm files, and put the copy in its place.

        password-reset backup "backup-$(date +%F).sqlite3"
      """)

  @Argument(help: "The new file; one that is there is not written over.")
  var file: String

  func validate() throws {
    if file.isEmpty { throw ValidationError("The name of the file must not be empty.") }
  }

  func run() async throws {
    try await CommandError.report {
      let path = try DatabaseSettings(environment: ProcessInfo.processInfo.environment).path
      guard FileManager.default.fileExists(atPath: path) else {
        throw CommandError(
          message: "there is no database \(path); check DATABASE_URL, or the folder that you are in", code: CommandError.configuration)
      }
      let backup = try backUp(path)
      print("Backed up \(backup.users) users to \(printable(file)) (\(backup.bytes) bytes).")
    }
  }

  /// Shows on a terminal how far it has come.
  private func backUp(_ path: String) throws -> (users: Int, bytes: Int) {
    let isShown = isatty(STDERR_FILENO) == 1
    defer { if isShown { Self.write("\r\u{1B}[2K") } }
    do throws(BackupError) {
      return try SQLiteStore.backUp(path: path, to: file, onProgress: isShown ? { Self.write("\r\(Int($0 * 100)) %") } : nil)
    } catch {
      switch error {
      case .database(let error): throw error
      case .fileExists, .failed: throw CommandError(message: "\(error)")
      }
    }
  }

  /// A backup does not fail because nobody can be told how far it is.
  private static func write(_ text: String) { try? FileHandle.standardError.write(contentsOf: Data(text.utf8)) }
}
