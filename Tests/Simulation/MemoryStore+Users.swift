package import Credentials
package import Foundation
package import PasswordReset
import Synchronization
import Text

extension MemoryStore: UserStore {
  package var hasUsernames: Bool { true }

  package var linkFormat: LinkFormat { .django }

  package func userID(_ text: String) -> UserID? { UserKey.integer.id(text) }

  package func users(matching identifier: AccountIdentifier) async throws(StoreError) -> [User] {
    state.withLock { state in
      let rows = rows(state).filter { row in
        switch identifier {
        case .email(let address): row.email.asciiLowercased == address.asciiLowercased
        case .username(let name): row.username.utf8.elementsEqual(name.utf8)
        }
      }
      return rows.map { state.user($0) }
    }
  }

  package func damagedUser(matching identifier: AccountIdentifier) async throws(StoreError) -> UserID? { nil }

  package func user(id: UserID) async throws(StoreError) -> User? {
    state.withLock { state in rows(state).first { $0.id == id }.map { state.user($0) } }
  }

  private func rows(_ state: State) -> [UserRow] {
    guard defect == .returnsFormerAddresses else { return state.users }
    return state.users.map { row in
      var row = row
      row.email = state.addedUsers.first { $0.id == row.id }?.email ?? row.email
      return row
    }
  }

  package func setPassword(_ change: PasswordChange, at now: Date) async throws(StoreError) -> [Job]? {
    state.withLock { state in
      if defect == .addsJobsWithoutChange { for job in change.jobs { _ = state.insert(job) } }
      let user = change.user
      guard let index = state.users.firstIndex(where: { $0.id == user.id }) else { return nil }
      let current = state.user(state.users[index])
      let isSame =
        current.password == user.password && current.email.isIdentical(to: user.email) && current.lastLogin == user.lastLogin && current.isActive
      let isCancelled = change.linkTime.map { $0.milliseconds <= state.cancellations[user.id] ?? .min } ?? false
      guard isSame || defect == .setsPasswordTwice, !isCancelled else { return nil }
      state.users[index].password = change.newHash
      if change.formerPasswordsToKeep > 0 {
        state.formerPasswords.append((user.id, user.password))
        let kept = state.formerPasswords.indices.filter { state.formerPasswords[$0].user == user.id }.suffix(change.formerPasswordsToKeep)
        let hashes = kept.map { state.formerPasswords[$0] }
        state.formerPasswords = state.formerPasswords.filter { $0.user != user.id } + hashes
      }
      state.insert(AuditRecord(change.event, userID: user.id, clientKey: change.clientKey), requestID: change.requestID, at: now)
      if defect == .changesWithoutJobs || defect == .addsJobsWithoutChange { return [] }
      return change.jobs.map { state.insert($0) }
    }
  }

  package func cancelLinks(_ cancellation: LinkCancellation, at now: Date) async throws(StoreError) -> [Job] {
    state.withLock { state in
      let new = cancellation.through.milliseconds
      let old = state.cancellations[cancellation.userID]
      state.cancellations[cancellation.userID] = old.map { max($0, new, min($0 + 1000, new + 60000)) } ?? new
      let audit = AuditRecord(.cancelled, userID: cancellation.userID, clientKey: cancellation.clientKey)
      state.insert(audit, requestID: cancellation.requestID, at: now)
      return cancellation.jobs.map { state.insert($0) }
    }
  }

  package func formerPasswords(of id: UserID, limit: Int) async throws(StoreError) -> [String] {
    state.withLock { state in Array(state.formerPasswords.filter { $0.user == id }.reversed().prefix(limit).map(\.hash)) }
  }

  package func usersWithFormerPasswords(after id: UserID?, limit: Int) async throws(StoreError) -> [UserID] {
    state.withLock { state in
      let ids = Set(state.formerPasswords.map(\.user.text)).sorted().filter { $0 > id?.text ?? "" }
      return ids.prefix(limit).map { UserID($0) }
    }
  }

  package func deleteFormerPasswords(of id: UserID) async throws(StoreError) {
    state.withLock { state in state.formerPasswords.removeAll { $0.user == id } }
  }
}

extension MemoryStore.State {
  func user(_ row: UserRow) -> User {
    let id = row.id ?? UserID(0)
    var lastLogin: String?
    if let text = row.lastLogin, case .time(let time) = DjangoTime.read(text) { lastLogin = time.clock }
    var user = User(
      id: id, username: row.username, email: row.email, firstName: row.firstName, lastName: row.lastName, password: row.password,
      lastLogin: lastLogin)
    user.isActive = row.isActive
    user.linksCancelledThrough = cancellations[id].flatMap(TokenTime.init(milliseconds:))
    return user
  }
}

extension MemoryStore: UserDirectory {
  package var userMapping: UserMapping { .django }

  package func userPage(_ selection: UserSelection, after id: UserID?, limit: Int) async throws(StoreError) -> UserPage {
    state.withLock { state in
      let rows = state.users.filter { row in
        guard row.id?.integer ?? 0 > id?.integer ?? .min else { return false }
        switch selection {
        case .all: return true
        case .username(let name): return row.username.utf8.elementsEqual(name.utf8)
        case .email(let address): return row.email.asciiLowercased == address.asciiLowercased
        case .id(let id): return row.id == id
        case .containing(let text):
          let text = text.asciiLowercased
          return [row.username, row.email, row.firstName, row.lastName].contains { $0.asciiLowercased.contains(text) }
        }
      }
      return UserPage(rows: Array(rows.prefix(limit)), last: rows.prefix(limit).last?.id)
    }
  }

  package func hasUsers() async throws(StoreError) -> Bool { state.withLock { !$0.users.isEmpty } }

  package func userCount() async throws(StoreError) -> Int { state.withLock(\.users.count) }

  package func add(_ rows: [UserRow]) async throws(StoreError) -> [UserAddition] { state.withLock { state in rows.map { state.add($0) } } }

  package func update(_ id: UserID, _ changes: [ActiveChange], runsAfterReset: Bool) async throws(StoreError) -> Bool {
    state.withLock { state in
      guard let index = state.users.firstIndex(where: { $0.id == id }) else { return false }
      for change in changes { if case .constant(let value) = change.value { state.users[index].isActive = value == .boolean(true) } }
      for change in changes { if case .oneOf = change.value { state.users[index].isActive = true } }
      return true
    }
  }
}

extension MemoryStore.State {
  fileprivate mutating func add(_ row: UserRow) -> UserAddition {
    if let namesake = users.first(where: { $0.username.utf8.elementsEqual(row.username.utf8) }) {
      return namesake.email == row.email && (row.id == nil || row.id == namesake.id) ? .present : .nameTaken
    }
    if let id = row.id, users.contains(where: { $0.id == id }) { return .keyTaken }
    var row = row
    let id = row.id ?? UserID((users.compactMap { $0.id?.integer }.max() ?? 0) + 1)
    row.id = id
    users.append(row)
    addedUsers.append(row)
    return .added(id: id)
  }
}

extension String {
  fileprivate var asciiLowercased: String {
    String(decoding: utf8.map { (0x41...0x5A).contains($0) ? $0 + 0x20 : $0 }, as: UTF8.self)
  }
}
