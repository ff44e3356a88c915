import ArgumentParser

struct MigrateCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "migrate",
    abstract: "Create or update the database schema.",
    discussion: """
      Creates the database that DATABASE_URL names if it does not exist. Creates Django's auth_user table if it is missing; an existing one only gets \
      an index. `serve` does the same when it starts.
      """
  )

  func run() async throws {
    try await CommandError.withExitCodes {
      _ = try openStore()
      print("The database is up to date.")
    }
  }
}
