import ArgumentParser
import Foundation
import PasswordReset
import SQLiteStore

@main
enum Main {
  /// Not `async`: what runs tasks opens files of its own, and these streams must come first.
  static func main() {
    openStandardStreams()
    Task {
      await PasswordResetCommand.main()
      exit(0)
    }
    dispatchMain()
  }

  /// The number of a stream that is closed would go to the next file or connection, and what is logged with it.
  private static func openStandardStreams() {
    var descriptor: Int32
    repeat { descriptor = open("/dev/null", O_RDWR) } while (0...STDERR_FILENO).contains(descriptor)
    close(descriptor)
  }
}

/// The command line.
struct PasswordResetCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "password-reset",
    abstract: "Django's password reset as one small service.",
    discussion: """
      Start it for a try with `password-reset serve --dev`: it needs no configuration, prints its mails, and has a demo user.
      Everything else is set by the environment, or a file that PASSWORD_RESET_CONFIG names; `password-reset config` lists the settings.

      Exit codes: 0 done, 1 failed, 64 wrong usage, 67 no such user, 78 wrong configuration.
      """,
    version: BuildInfo.version,
    subcommands: [
      ServeCommand.self, ConfigCommand.self, CheckCommand.self, SendTestEmailCommand.self, MigrateCommand.self, BackupCommand.self,
      UsersCommand.self, MailCommand.self, OutboxCommand.self, AuditCommand.self, HealthCommand.self,
    ]
  )
}

/// A failure that the operator can mend: a sentence on standard error and an exit code, in the place of a crash.
struct CommandError: Error {
  /// `EX_CONFIG` of sysexits.h.
  static let configuration: Int32 = 78

  var message: String
  var code: Int32 = 1

  /// Runs a command's work, and ends it with its exit code if it fails.
  static func report<Result>(_ work: () async throws -> Result) async throws -> Result {
    do {
      return try await work()
    } catch let error as CommandError {
      throw exit(error.message, error.code)
    } catch let error as UserDocument.Fault {
      throw exit(error.reason, 1)
    } catch let error as SettingsError {
      throw exit("\(error)", configuration)
    } catch let error as StoreOpenError {
      if case .locked = error { throw exit("\(error)", 1) }
      throw exit("\(error)", configuration)
    } catch let error as StoreError {
      throw exit("the database cannot be used: \(error)", 1)
    }
  }

  private static func exit(_ message: String, _ code: Int32) -> ExitCode {
    printError(message)
    return ExitCode(code)
  }
}

/// A line on standard error, if it can be written.
func printError(_ message: String) { try? FileHandle.standardError.write(contentsOf: Data((message + "\n").utf8)) }

/// The database that the environment names, with its schema up to date.
/// - Parameter isMade: whether it is made if there is none.
func openStore(isMade: Bool = true) throws -> SQLiteStore {
  let path = try DatabaseSettings(environment: ProcessInfo.processInfo.environment).path
  guard isMade || FileManager.default.fileExists(atPath: path) else {
    throw CommandError(message: "there is no database \(path); check DATABASE_URL, or the folder that you are in", code: CommandError.configuration)
  }
  let store = try SQLiteStore(path: path)
  try store.migrate()
  return store
}
