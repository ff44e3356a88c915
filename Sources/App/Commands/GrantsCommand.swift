import ArgumentParser
import Foundation
import PasswordReset

struct GrantsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "grants", abstract: "Print the SQL that gives a PostgreSQL role the privileges that the service needs.",
    discussion: """
      The role can then do only what a reset needs: read users, set a password, and use the tables of the schema password_reset. Privileges for the \
      commands that change users are comments at the end. Names the columns in USERS_COLUMNS, and Django's for the others: write null \
      there for those that the table lacks. Uses no database.

        password-reset grants --role password_reset | psql site
      """)

  @Option(help: "The name of the role.")
  var role = "password_reset"

  func run() async throws {
    try await CommandError.withExitCodes {
      var reader = SettingsReader(environment: ProcessInfo.processInfo.environment)
      let users = UserTable(from: &reader)
      try reader.throwErrors()
      print(privileges(ofPostgreSQLRole: role, users: users))
    }
  }
}
