import ArgumentParser
import Foundation

@main
enum Main {
  /// Not `async`, because the runtime opens files when it runs tasks, and the standard streams must be open before.
  static func main() {
    openStandardStreams()
    failIfResultIsLost()
    Task {
      await PasswordResetCommand.main(arguments())
      exit(0)
    }
    dispatchMain()
  }

  /// Returns the arguments of the command line, without the name of the program.
  ///
  /// Swift finds them in memory next to the environment. If a library that was loaded before the program called `setenv`,
  /// the environment is elsewhere, and Swift finds no arguments.
  private static func arguments() -> [String] {
    if !CommandLine.arguments.isEmpty { return Array(CommandLine.arguments.dropFirst()) }
    let line = FileManager.default.contents(atPath: "/proc/self/cmdline") ?? Data()
    // Every argument ends with NUL.
    return line.split(separator: 0, omittingEmptySubsequences: false).dropLast().dropFirst().map { String(decoding: $0, as: UTF8.self) }
  }

  /// Opens standard streams that are closed. Otherwise the next file or connection would get the number of a stream, and
  /// what is written to that stream. Writing to them still fails, as it does for a closed stream.
  private static func openStandardStreams() {
    var descriptor: Int32
    repeat { descriptor = open("/dev/null", O_RDONLY) } while (0...STDERR_FILENO).contains(descriptor)
    close(descriptor)
  }
}

/// A command that only has subcommands.
protocol CommandGroup: AsyncParsableCommand {}

extension CommandGroup {
  /// Without a subcommand there is nothing to do. A container that starts this way must not seem to succeed.
  func run() async throws {
    printError(PasswordResetCommand.helpMessage(for: Self.self))
    throw ExitCode(CommandError.usage)
  }
}

/// The command line.
struct PasswordResetCommand: CommandGroup {
  static let configuration = CommandConfiguration(
    commandName: "password-reset",
    abstract: "Django's password reset as one small service.",
    discussion: """
      To try it out, run `password-reset serve --dev`: it needs no configuration, prints emails to the terminal, and has a demo user. \
      Settings are environment variables, or in the file that PASSWORD_RESET_CONFIG names; `password-reset config` lists them.

      Exit codes: 0 success, 1 failure, 64 wrong usage, 67 no such user, 78 wrong configuration.
      """,
    version: BuildInfo.version,
    subcommands: [
      ServeCommand.self, WorkerCommand.self, ConfigCommand.self, CheckCommand.self, SendTestEmailCommand.self, MigrateCommand.self,
      GrantsCommand.self, BackupCommand.self, UsersCommand.self, PwnedCommand.self, MailCommand.self, WebhookCommand.self, OutboxCommand.self,
      AuditCommand.self,
      HealthCommand.self,
    ]
  )
}
