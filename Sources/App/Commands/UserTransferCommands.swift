import ArgumentParser
import Foundation
import PasswordReset
import SQLiteStore

extension UserFileFormat: ExpressibleByArgument {}

struct UsersImportCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "import",
    abstract: "Add the users in a file.",
    discussion: """
      Takes CSV with a header line, JSON Lines, or what Django's `manage.py dumpdata auth.user` prints. The columns and members are \
      \(UserDocument.CodingKeys.allCases.map(\.rawValue).joined(separator: ", ")); only username is required. A password is an encoded hash as Django \
      stores it; without one the user has none.

        password-reset users import users.csv
        manage.py dumpdata auth.user | password-reset users import - --format dumpdata

      A user that cannot be taken is named on standard error with its line, and the others go in, a thousand to a transaction. What was imported \
      before is left as it is, so an import that was cut off is simply run again: a user of the same name and address is there already. Exits 1 if \
      any user was refused, and 0 if all are there.
      """
  )

  private static let batch = 1000

  @Argument(help: "The file; - for standard input.")
  var file: String

  @Option(help: "How the file is written; without it the name's ending tells: .csv, .jsonl, .json.")
  var format: UserFileFormat?

  func run() async throws {
    try await CommandError.withExitCodes {
      guard let format = format ?? UserFileFormat(path: file) else {
        throw CommandError(message: "the name of the file does not tell its format; name it with --format", code: 64)
      }
      let input = try open()
      let store = try openStore()
      var reader = UserFileReader(input, format: format)
      var tally = Tally()
      // Standard input has no size, and then there is no bar.
      let progress = Progress(total: try? FileManager.default.attributesOfItem(atPath: file)[.size] as? Int)
      do {
        while let batch = try next(&reader, &tally) {
          try await add(batch, to: store, &tally)
          progress.show(reader.position, "\(tally.added + tally.present) users")
        }
      } catch {
        progress.end()
        print(tally.text)
        guard let error = error as? UserFileReader.Broken else { throw error }
        throw CommandError(message: "\(name):\(error.line): \(error.reason); nothing from here on was imported")
      }
      progress.end()
      print(tally.text)
      if reader.passedOver > 0 { printError("\(reader.passedOver) objects of other models than auth.user were passed over.") }
      if tally.refused > 0 || reader.passedOver > 0 && tally.added + tally.present == 0 { throw ExitCode.failure }
    }
  }

  private struct Tally {
    var added = 0
    var present = 0
    var refused = 0

    var text: String { "\(added) users added, \(present) were there already, \(refused) refused." }
  }

  private var name: String { file == "-" ? "standard input" : file }

  private func open() throws -> FileHandle {
    if file == "-" { return .standardInput }
    guard let handle = FileHandle(forReadingAtPath: file) else {
      throw CommandError(message: "\(file) cannot be read; check the path and its permissions")
    }
    return handle
  }

  /// The next users to be added, with their lines; nil at the end. If the file breaks off, what came before it is still given.
  private func next(_ reader: inout UserFileReader, _ tally: inout Tally) throws -> [(Int, UserRow)]? {
    var batch: [(Int, UserRow)] = []
    var seen = 0
    while seen < Self.batch {
      let entry: UserFileEntry?
      do { entry = try reader.next() } catch { if seen == 0 { throw error } else { break } }
      guard let entry else { break }
      seen += 1
      do throws(UserDocument.Fault) {
        batch.append((entry.line, try entry.fields.get().record(now: Date())))
      } catch {
        refuse(entry.line, error.reason, &tally)
      }
    }
    return seen == 0 ? nil : batch
  }

  private func add(_ batch: [(Int, UserRow)], to store: SQLiteStore, _ tally: inout Tally) async throws {
    let results = try await store.add(batch.map(\.1))
    for ((line, _), result) in zip(batch, results) {
      switch result {
      case .added: tally.added += 1
      case .present: tally.present += 1
      case .nameTaken: refuse(line, "username is that of another user", &tally)
      case .keyTaken: refuse(line, "id is that of another user", &tally)
      }
    }
  }

  private func refuse(_ line: Int, _ reason: String, _ tally: inout Tally) {
    tally.refused += 1
    Progress.clear()
    printError("\(name):\(line): \(reason)")
  }
}

struct UsersExportCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "export",
    abstract: "Write all users, with their password hashes.",
    discussion: """
      What it writes, `users import` reads, and as dumpdata Django's `manage.py loaddata`, too; an import refuses users that Django's forms would \
      (a blank in the name) and hashes that are not known here. A new file is readable by its owner alone; one that \
      is there is not written over. Exits 1 if a damaged row had to be left out.

        password-reset users export --output users.csv
        password-reset users export --format jsonl | gzip > users.jsonl.gz
      """
  )

  @Option(help: "The new file; without it, standard output.")
  var output: String?

  @Option(help: "How to write it: csv, jsonl or dumpdata; without it the name's ending tells, and csv is the default.")
  var format: UserFileFormat?

  func run() async throws {
    try await CommandError.withExitCodes {
      let store = try openStore()
      let total = try await store.userCount()
      var writer = UserFileWriter(try open(), format: format ?? output.flatMap(UserFileFormat.init(path:)) ?? .csv)
      let progress = Progress(total: output == nil ? nil : total)
      var (written, damaged, last) = (0, 0, Int64?(.min))
      while let after = last {
        let page = try await store.page(after: after, limit: 1000)
        do { try writer.write(page.records.map(UserDocument.init)) } catch {
          throw CommandError(message: "cannot write: \(error.localizedDescription)")
        }
        for id in page.damaged { printError("The row of user \(id) is damaged, and was left out.") }
        if page.withoutKey > 0 { printError("\(page.withoutKey) rows have an id that is no whole number, and were left out.") }
        (written, damaged, last) = (written + page.records.count, damaged + page.damaged.count + page.withoutKey, page.last)
        progress.show(written, "\(written) users")
      }
      try writer.finish()
      progress.end()
      printError("\(written) users written.")
      if damaged > 0 { throw ExitCode.failure }
    }
  }

  private func open() throws -> FileHandle {
    guard let output else { return .standardOutput }
    let descriptor = Foundation.open(output, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw CommandError(message: "cannot make \(output): \(String(cString: strerror(errno)))") }
    return FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
  }
}

/// How far a long command has come, on one line of a terminal; nothing elsewhere.
private struct Progress {
  private static let width = 30

  /// What there is in all, if that is known.
  var total: Int?
  private let isShown = isatty(STDERR_FILENO) == 1

  init(total: Int?) { self.total = total }

  func show(_ done: Int, _ text: String) {
    guard isShown, let total, total > 0 else { return }
    let share = min(1, Double(done) / Double(total))
    let bar = String(repeating: "█", count: Int(share * Double(Self.width)))
    let line = "\r\(bar.padding(toLength: Self.width, withPad: "░", startingAt: 0)) \(Int(share * 100)) %  \(text) "
    FileHandle.standardError.write(Data(line.utf8))
  }

  func end() { Self.clear() }

  /// Makes room for another line; the next ``show(_:_:)`` draws it again.
  static func clear() {
    if isatty(STDERR_FILENO) == 1 { FileHandle.standardError.write(Data("\r\u{1B}[2K".utf8)) }
  }
}
