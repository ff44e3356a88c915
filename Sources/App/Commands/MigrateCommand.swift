import ArgumentParser
import SQLiteStore

struct MigrateCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "migrate",
    abstract: "Bring the database's schema up to date.",
    discussion: """
      Makes the database that DATABASE_URL names if there is none. Django's auth_user table is made when absent and gets no more than an index when
      present. `serve` does the same at its start.
      """
  )

  func run() async throws {
    try await CommandError.report {
      _ = try openStore()
      print("The database is up to date.")
    }
  }
}
