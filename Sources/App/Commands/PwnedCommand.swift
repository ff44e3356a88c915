import ArgumentParser
import Foundation
import PwnedPasswords

struct PwnedCommand: CommandGroup {
  static let configuration = CommandConfiguration(
    commandName: "pwned",
    abstract: "Prepare the file with which leaked passwords are refused.",
    subcommands: [PwnedBuildCommand.self, PwnedTestCommand.self]
  )
}

struct PwnedBuildCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "build",
    abstract: "Make a filter file from the list of leaked passwords that Have I Been Pwned publishes.",
    discussion: """
      Reads the list once, sorted by SHA-1 hash as its downloader writes it, and keeps 4 bytes of each hash. It needs little memory. The filter \
      replaces FILTER at once when it is complete; running services then use it. docs/passwords.md explains more.

        password-reset pwned build pwnedpasswords.txt /srv/pwned.filter
      """)

  @Argument(help: "The list, or the folder with its range files (00000.txt to FFFFF.txt).")
  var list: String

  @Argument(help: "The filter file.")
  var filter: String

  @Option(help: ArgumentHelp("Leave out passwords that were found less often.", valueName: "n"))
  var minimumCount = 1

  @Flag(help: "Accept a folder in which range files are missing, or a list that ends early. Their passwords are not refused.")
  var allowMissingRanges = false

  func validate() throws {
    if minimumCount < 1 { throw ValidationError("--minimum-count must be 1 or more.") }
  }

  func run() async throws {
    try await CommandError.withExitCodes {
      defer { ProgressLine.clear() }
      let builder = FilterBuilder(
        list: list, minimumCount: minimumCount, allowsMissingRanges: allowMissingRanges, onProgress: { ProgressLine.show("\(Int($0 * 100)) %") })
      let summary: FilterBuilder.Summary
      do { summary = try builder.build(at: filter) } catch { throw CommandError(message: printable("The filter was not built: \(error).")) }
      ProgressLine.clear()
      print("Wrote \(summary.entries) of \(summary.listed) passwords to \(printable(filter)) (\(summary.bytes) bytes).")
      print("It refuses a password that is not in the list with a probability of 1 in \(Int(1 / summary.falsePositiveRate)).")
    }
  }
}

struct PwnedTestCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "test",
    abstract: "Look up passwords in a filter file or a list.",
    discussion: """
      Reads passwords from standard input, one per line, and prints `pwned` or `clean` for each.

        echo 123456 | password-reset pwned test /srv/pwned.filter
      """)

  @Argument(help: "A filter file, or the list itself.")
  var file: String

  func run() async throws {
    try await CommandError.withExitCodes {
      do {
        let source = try PwnedPasswordsFile(path: file)
        var lines = try LineReader(.standardInput)
        while let line = try lines.next() {
          let password = String(decoding: line, as: UTF8.self).trimmingCharacters(in: .newlines)
          print(try await source.contains(SHA1Hash(of: password)) ? "pwned" : "clean")
        }
      } catch let error as PwnedFileError {
        throw CommandError(message: "\(printable(file)) cannot be used: \(error).")
      } catch let error as UserFileReader.Broken {
        throw CommandError(message: "Standard input has a line that cannot be read: \(error.reason).")
      }
    }
  }
}
