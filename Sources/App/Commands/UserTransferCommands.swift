import ArgumentParser
import Credentials
import Foundation
import PasswordReset

extension UserFileFormat: ExpressibleByArgument {}

struct UsersImportCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "import",
    abstract: "Add users from a file.",
    discussion: """
      Reads CSV, what MySQL and MariaDB write, JSON Lines, or the output of Django's `manage.py dumpdata auth.user`. The columns and members are \
      \(UserColumn.list); only username is required, or email if the users table has no user names. groups and user_permissions are ignored. Times without a zone are in UTC. The password \
      is a hash as Django stores it or, with PASSWORD_FORMAT=crypt, as other frameworks do. Hashes of unknown algorithms verify no password, but their users can reset it.

        password-reset users import users.csv
        manage.py dumpdata --format jsonl auth.user > users.jsonl
        password-reset users import users.jsonl
        password-reset users import auth_user.txt --format mysql --columns id,password,last_login,username,email

      A user without a hash has no password and gets no reset email. With --first-password-by-email, such users get reset emails, and so choose \
      their first password; with PASSWORD_FORMAT=crypt, this is not possible. A hash that begins with ! is kept: it marks users who sign in \
      elsewhere.

      The format dumpdata is for a JSON array of at most \(UserFileReader.arrayLimit >> 20) MiB; the other formats have no limit. Users that are \
      refused are reported on standard error with their lines, and the others are added, a thousand per transaction. A user with the same name and \
      address exists already and stays unchanged, so an interrupted import can simply be run again. Exits with 1 if a user was refused, and \
      otherwise with 0.
      """
  )

  private static let batch = 1000

  @Argument(help: "The file, or - for standard input.")
  var file: String

  @Option(help: "The format of the file. By default, the extension decides: .csv, .jsonl, or .json for dumpdata.")
  var format: UserFileFormat?

  @Option(help: "The columns, separated by commas, of a csv or mysql file whose first line does not name them.")
  var columns: String?

  @Flag(help: "Let users without a hash choose their first one by reset email. Without this, they get no email.")
  var firstPasswordByEmail = false

  func run() async throws {
    try await CommandError.withExitCodes {
      guard let format = format ?? UserFileFormat(path: file) else {
        throw CommandError(message: "The file name does not show the format. Add --format.", code: CommandError.usage)
      }
      guard columns == nil || [.csv, .mysql].contains(format) else {
        throw CommandError(message: "--columns is only for the formats csv and mysql. Remove it.", code: CommandError.usage)
      }
      let hashers = try PasswordHasherSettings(environment: ProcessInfo.processInfo.environment).hashers
      guard !firstPasswordByEmail || hashers.format == .django else {
        throw CommandError(
          message: "--first-password-by-email needs PASSWORD_FORMAT=django. Remove it, and send these users a link with `users link`.",
          code: CommandError.usage)
      }
      let input = try open()
      let names = columns?.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
      var reader: UserFileReader
      do { reader = try UserFileReader(input, format: format, columns: names) } catch let error as UserFileReader.Broken { throw broken(error) }
      let store = try openStore()
      try store.userMapping.checkThatRowsCanBeAdded(withKeys: true)
      try store.userMapping.checkFormat(format)
      reader.nameColumn = store.userMapping.nameColumn
      var tally = Tally()
      // The size of standard input is unknown, so there is no progress bar.
      let progress = Progress(total: try? FileManager.default.attributesOfItem(atPath: file)[.size] as? Int)
      defer {
        ProgressLine.clear()
        print(tally.text)
        if reader.skipped > 0 { printError("Skipped \(counted(reader.skipped, "object")) of other models than auth.user.") }
        if tally.unknownHashes > 0 {
          printError("No password matches the hashes of \(counted(tally.unknownHashes, "added user")); they can reset their passwords.")
        }
        if tally.withoutPassword > 0 {
          let users = counted(tally.withoutPassword, "added user")
          printError("\(users) without a password will get no reset email; `users import --help` says how to change that.")
        }
      }
      var (isAtEnd, failure) = (false, CommandError?.none)
      while !isAtEnd {
        var batch: [(String, UserRow)] = []
        do {
          isAtEnd = try !read(&batch, from: &reader, for: store.userMapping, hashers, &tally)
        } catch let error as UserFileReader.Broken {
          (isAtEnd, failure) = (true, broken(error))
        }
        try await add(batch, to: store, hashers, &tally)
        progress.show(reader.position, "\(tally.added + tally.present) users")
      }
      if let failure { throw failure }
      if tally.refused > 0 || reader.skipped > 0 && tally.added + tally.present == 0 { throw ExitCode.failure }
    }
  }

  private struct Tally {
    var added = 0
    var present = 0
    var refused = 0
    var withoutPassword = 0
    var unknownHashes = 0

    var text: String { "\(counted(added, "user")) added, \(present) were there already, \(refused) refused." }
  }

  private var name: String { file == "-" ? "standard input" : file }

  private func broken(_ error: UserFileReader.Broken) -> CommandError {
    let reason = error.reason + (error.reason.hasSuffix("?") ? "" : ".")
    return CommandError(message: "\(name)\(error.place): \(reason) Nothing from here on was imported.")
  }

  private func open() throws -> FileHandle {
    if file == "-" { return .standardInput }
    guard let handle = FileHandle(forReadingAtPath: file) else {
      throw CommandError(message: "\(file) cannot be read. Check the path and its permissions.")
    }
    return handle
  }

  /// Adds the next users of the file to a batch, with their places, and reports those that are refused. Returns false at the end.
  private func read(
    _ batch: inout [(String, UserRow)], from reader: inout UserFileReader, for users: UserMapping, _ hashers: PasswordHashers, _ tally: inout Tally
  ) throws -> Bool {
    for _ in 0..<Self.batch {
      guard let entry = try reader.next() else { return false }
      do throws(UserDocument.Fault) {
        batch.append((entry.place, try entry.user.get().record(now: Date(), for: users, hashers, choosesPassword: firstPasswordByEmail)))
      } catch {
        // There is no name if the user itself could not be read; `error` says why.
        refuse(entry.place, error.reason, user: (try? entry.user.get())?.values[users.nameColumn], &tally)
      }
    }
    return true
  }

  private func add(_ batch: [(String, UserRow)], to store: any UserDirectory, _ hashers: PasswordHashers, _ tally: inout Tally) async throws {
    let results = try await store.add(batch.map(\.1))
    for ((place, row), result) in zip(batch, results) {
      switch result {
      case .added:
        tally.added += 1
        if hashers.format.isUnusable(row.password) {
          tally.withoutPassword += 1
        } else if !row.password.isEmpty, !hashers.recognizes(row.password) {
          tally.unknownHashes += 1
        }
      case .present: tally.present += 1
      case .nameTaken:
        refuse(place, "\(store.userMapping.nameColumn.rawValue) is taken by another user", user: store.userMapping.name(of: row), &tally)
      case .keyTaken: refuse(place, "id is taken by another user", user: store.userMapping.name(of: row), &tally)
      }
    }
  }

  private func refuse(_ place: String, _ reason: String, user: String?, _ tally: inout Tally) {
    tally.refused += 1
    ProgressLine.clear()
    let user = user.map { " (user \(printable(String($0.prefix(150)))))" } ?? ""
    printError("\(name)\(place): \(reason)\(user)")
  }
}

struct UsersExportCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "export",
    abstract: "Export all users, including their password hashes.",
    discussion: """
      `users import` reads the output, and with --format dumpdata, so does Django's `manage.py loaddata`. Only the owner can read a new file. An \
      existing file is never overwritten. Rows that Django cannot read, and users that an import would refuse, are named and left out; the exit code \
      is then 1.

        password-reset users export --output users.csv
        password-reset users export --format jsonl | gzip > users.jsonl.gz
      """
  )

  @Option(help: "The new file. The default is standard output.")
  var output: String?

  @Option(help: "The format. By default, the extension decides, and otherwise it is csv.")
  var format: UserFileFormat?

  func validate() throws {
    if format == .mysql { throw ValidationError("Users cannot be exported in the format mysql. Use csv, jsonl or dumpdata.") }
  }

  func run() async throws {
    try await CommandError.withExitCodes {
      let hashers = try PasswordHasherSettings(environment: ProcessInfo.processInfo.environment).hashers
      let store = try openStore()
      let format = format ?? output.flatMap(UserFileFormat.init(path:)) ?? .csv
      try store.userMapping.checkFormat(format)
      let total = try await store.userCount()
      var writer = try UserFileWriter(open(), format: format)
      let progress = Progress(total: output == nil ? nil : total)
      var (written, damaged, last) = (0, 0, UserID?.none)
      repeat {
        let page = try await store.userPage(after: last, limit: 1000)
        let users = page.rows.map { UserDocument($0, in: store.userMapping) }.filter { user in
          do throws(UserDocument.Fault) {
            _ = try user.record(now: Date(), for: store.userMapping, hashers)
            return true
          } catch {
            printError("User \(user.values[.id] ?? "") was left out: \(error.reason)")
            return false
          }
        }
        try writer.write(users)
        for id in page.damaged { printError("The row of user \(id) is damaged and was left out.") }
        if page.withoutKey > 0 { printError("Left out: \(counted(page.withoutKey, "row")) whose key is not \(store.userMapping.key.noun).") }
        damaged += page.damaged.count + page.withoutKey + page.rows.count - users.count
        (written, last) = (written + users.count, page.last)
        progress.show(written, "\(written) users")
      } while last != nil
      try writer.finish()
      ProgressLine.clear()
      printError("Exported \(counted(written, "user")).")
      if damaged > 0 { throw ExitCode.failure }
    }
  }

  private func open() throws -> FileHandle {
    guard let output else { return .standardOutput }
    let descriptor = Foundation.open(output, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw CommandError(message: "Cannot create \(output): \(String(cString: strerror(errno))).") }
    return FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
  }
}

extension UserMapping {
  /// Throws if a new row needs a value that the service does not have.
  /// - Parameter withKeys: whether the rows may have keys.
  func checkThatRowsCanBeAdded(withKeys: Bool = false) throws(CommandError) {
    let unfilled = unfilledColumns.filter { !withKeys || $0 != columns[.id] }
    guard !unfilled.isEmpty else { return }
    let names = unfilled.map { printable($0) }.joined(separator: ", ")
    throw CommandError(
      message: """
        Cannot add users: the table \(table) has columns that are NOT NULL and have no default: \(names). Add users with the site's own tools, or give \
        these columns a default in the database.
        """)
  }

  /// Throws if the format is only for Django's own model.
  fileprivate func checkFormat(_ format: UserFileFormat) throws(CommandError) {
    if format == .dumpdata, table != UserTable.django.name {
      throw CommandError(message: "The format dumpdata is only for the table auth_user. Use csv or jsonl.", code: CommandError.usage)
    }
  }
}

/// A progress bar on standard error, if that is a terminal.
private struct Progress {
  private static let width = 30

  /// The number at which the bar is full, if it is known.
  var total: Int?

  init(total: Int?) { self.total = total }

  func show(_ done: Int, _ text: String) {
    guard ProgressLine.isShown, let total, total > 0 else { return }
    let share = min(1, Double(done) / Double(total))
    let bar = String(repeating: "█", count: Int(share * Double(Self.width)))
    ProgressLine.show("\(bar.padding(toLength: Self.width, withPad: "░", startingAt: 0)) \(Int(share * 100)) %  \(text) ")
  }
}
