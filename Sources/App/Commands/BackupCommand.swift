import ArgumentParser
import Foundation
import PasswordReset

struct BackupCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "backup", abstract: "Copy the database to a file. The service may be running.",
    discussion: """
      Only for SQLite; for PostgreSQL use pg_dump.

      The file appears once it is complete, checked and on disk. It contains password hashes, so only its owner may read it. It does not contain \
      SECRET_KEY; keep that elsewhere. If a backup is killed, it may leave FILE.partial-… behind, which you can delete.

      To restore a backup, stop the service, remove the database with its -wal and -shm files, and copy the backup to the path of the database.

        password-reset backup "backup-$(date +%F).sqlite3"
      """)

  @Argument(help: "The new file. An existing file is never overwritten.")
  var file: String

  func validate() throws {
    if file.isEmpty { throw ValidationError("The name of the file must not be empty.") }
  }

  func run() async throws {
    try await CommandError.withExitCodes {
      let backup = try backUp(existingDatabase())
      print("Backed up \(backup.users) users to \(printable(file)) (\(backup.bytes) bytes).")
    }
  }

  /// Backs up the database, and shows the progress if standard error is a terminal.
  private func backUp(_ database: DatabaseSettings) throws -> BackupSummary {
    guard let database = databaseToBackUp(database) else {
      throw CommandError(
        message: """
          This command copies an SQLite database. For PostgreSQL use pg_dump: it also copies the tables of the schema password_reset, \
          without which accepted requests are lost.
          """, code: CommandError.usage)
    }
    defer { ProgressLine.clear() }
    do throws(BackupError) {
      return try database.backUp(to: file, onProgress: ProgressLine.isShown ? { ProgressLine.show("\(Int($0 * 100)) %") } : nil)
    } catch {
      switch error {
      case .database(let error): throw error
      case .fileExists, .failed: throw CommandError(message: "\(error)")
      }
    }
  }
}
