import ArgumentParser

struct GrantsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "grants", abstract: "Print the SQL that gives a PostgreSQL role the privileges that the service needs.",
    discussion: """
      The role can then do only what a reset needs: read users, set a password, and use the tables of the schema password_reset. Privileges for the \
      commands that change users are comments at the end. Uses no database.

        password-reset grants --role password_reset | psql site
      """)

  @Option(help: "The name of the role.")
  var role = "password_reset"

  func run() { print(privileges(ofPostgreSQLRole: role)) }
}
