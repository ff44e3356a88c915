import Credentials
import Foundation
import PasswordReset

/// Runs one schedule: random steps, then time without faults until the outbox is empty, then the checks.
struct Schedule {
  private enum Step: CaseIterable {
    case request, wait, waitLonger, leap, setClock, start, crash, shutDown, confirm, cancel, retry, discard, changeUser, toggleOutage
  }

  private static let identifiers: [AccountIdentifier] = [
    .email("alice@example.com"), .email("ALICE@example.com"), .email("shared@example.com"), .email("bob@example.com"), .username("alice"),
    .email("unknown@example.com"), .username("unknown"), .email("new1@example.com"), .username("locked"),
  ]
  /// More than any schedule needs.
  private static let longestEnd = 20_000

  private let world: World
  private let store: SimulatedStore
  private var processes: [SimulatedProcess] = []
  private var lastProcess = 0
  private var lastRequest = 0
  private var lastAddress = 0
  private let clients = Clients()
  private var steps: [Step] = []

  /// The clients and operators that wait for an answer.
  private final class Clients: @unchecked Sendable { var count = 0 }

  init(_ world: World, _ store: SimulatedStore) {
    self.world = world
    self.store = store
    let plan = world.plan
    func add(_ step: Step, _ weight: Int, if isPart: Bool = true) { if isPart { steps += Array(repeating: step, count: weight) } }
    add(.request, 6)
    add(.wait, 6)
    add(.waitLonger, 3)
    add(.leap, 2, if: plan.leaps)
    add(.setClock, 1, if: plan.clockChanges)
    add(.start, 2)
    add(.crash, 2, if: plan.crashes)
    add(.shutDown, 1, if: plan.shutdowns)
    add(.confirm, 4, if: plan.confirms)
    add(.cancel, 1, if: plan.confirms)
    add(.retry, 1, if: plan.operatorActs)
    add(.discard, 1, if: plan.operatorActs)
    add(.changeUser, 2, if: plan.usersChange)
    add(.toggleOutage, 1, if: plan.outages)
  }

  mutating func run() {
    addUsers()
    startProcess()
    for _ in 0..<world.plan.steps {
      perform(world.random.pick(steps))
      runTasks()
    }
    finish()
    tearDown()
  }

  /// Runs the tasks that are ready, or only some of them if the schedule interrupts them.
  private func runTasks() { world.run(limit: world.plan.interrupts ? world.random.below(40) : .max) }

  private func addUsers() {
    let users = [
      ("alice", "alice@example.com", "x"), ("b", "shared@example.com", "x"), ("c", "Shared@example.com", "x"), ("bob", "bob@example.com", "x"),
      ("locked", "locked@example.com", "!x"),
    ]
    let rows = users.map { UserRow(username: $0, email: $1, password: $2, dateJoined: "2026-01-01 00:00:00") }
    perform { [world, store] in
      guard let added = try? await store.run(in: world, { store async throws(StoreError) in try await store.add(rows) }) else { return }
      for (row, addition) in zip(rows, added) {
        guard case .added(let id) = addition else { continue }
        world.ledger.usersChanged { $0[id] = Ledger.Account(username: row.username, email: row.email, isUsable: row.password == "x") }
      }
    }
    world.run()
  }

  // MARK: - The steps

  private mutating func perform(_ step: Step) {
    world.log("-- \(step)")
    switch step {
    case .request: request()
    case .wait: advance(world.random.number(in: 0.001...0.5))
    case .waitLonger: advance(world.random.number(in: 1...10))
    case .leap:
      world.ledger.leaped()
      world.leap(world.random.pick([5, 10, 40, 100, 700, 4000, 90_000]))
    case .setClock: world.setClock(back: world.random.pick([2, 30, 3600, 90_000, -30, -3600]))
    case .start: if processes.count(where: \.state.isAlive) < world.plan.maxProcesses { startProcess() }
    case .crash: crash()
    case .shutDown: serving?.shutDown()
    case .confirm: confirm()
    case .cancel: cancel()
    case .retry: retry()
    case .discard: discard()
    case .changeUser: changeUser()
    case .toggleOutage:
      if world.random.chance(0.5) { world.isMailServerDown.toggle() } else { world.isReceiverDown.toggle() }
    }
  }

  /// Starts a task of the schedule.
  private func perform(_ work: @escaping @Sendable () async -> Void) {
    clients.count += 1
    Task(executorPreference: world.executor) { [clients] in
      await work()
      clients.count -= 1
    }
  }

  /// A process that accepts requests, or `nil` if there is none.
  private var serving: SimulatedProcess? {
    let serving = processes.filter(\.state.isServing)
    return serving.isEmpty ? nil : world.random.pick(serving)
  }

  private mutating func startProcess() {
    lastProcess += 1
    let process = SimulatedProcess(lastProcess, store, world)
    processes.append(process)
    process.start()
  }

  private mutating func crash() {
    let alive = processes.filter { $0.state.isAlive && !$0.state.hasEnded }
    guard !alive.isEmpty else { return }
    world.random.pick(alive).crash()
    store.crash()
  }

  private mutating func nextRequest() -> String {
    lastRequest += 1
    return "r\(lastRequest)"
  }

  private mutating func request() {
    guard let process = serving else { return }
    let id = nextRequest()
    let identifier = world.random.pick(Self.identifiers)
    let form =
      switch identifier {
      case .email(let address): PasswordResetForm(email: .text(address))
      case .username(let name): PasswordResetForm(email: .missing, username: .text(name))
      }
    world.ledger.requests[id] = Ledger.Request(identifier: identifier)
    perform { [world, service = process.service] in
      do {
        try await service.requestReset(form, locale: "en", origin: RequestOrigin(requestID: id))
        world.ledger.requests[id]?.isAccepted = true
        world.log("\(id) is accepted")
      } catch {
        world.log("\(id) is refused")
      }
    }
  }

  /// One link, and clients on any processes that use it at once.
  private mutating func confirm() {
    guard let link = randomLink() else { return }
    for _ in 0...world.random.below(3) {
      guard let process = serving else { return }
      let id = nextRequest()
      world.ledger.tokens[id] = link.token
      let form = SetPasswordForm(newPassword1: .text("new password"), newPassword2: .text("new password"))
      perform { [world, service = process.service] in
        do {
          try await service.setPassword(form, uidb64: link.uid, token: link.token, locale: "en", origin: RequestOrigin(requestID: id))
          world.log("\(id) set the password")
          if world.ledger.changes[id] == nil { world.ledger.violate("a client heard of a new password, and none was set") }
        } catch {
          world.log("\(id) set no password")
        }
      }
    }
  }

  private mutating func cancel() {
    guard let link = randomLink(), let process = serving else { return }
    let id = nextRequest()
    perform { [service = process.service] in
      try? await service.cancelLinks(uidb64: link.uid, token: link.token, origin: RequestOrigin(requestID: id))
    }
  }

  private func randomLink() -> (uid: String, token: String)? {
    guard !world.inbox.isEmpty else { return nil }
    let parts = world.random.pick(world.inbox).split(separator: " ")
    return (String(parts[0]), String(parts[1]))
  }

  private func retry() {
    perform { [world, store] in
      let now = world.now
      let all = world.ledger.jobs.values
      let (selection, ids): (OutboxSelection, [Int64])
      switch world.random.below(3) {
      case 0: (selection, ids) = (.waiting, all.filter { $0.deadLetteredAt == nil && $0.owner == nil }.map(\.id))
      case 1: (selection, ids) = (.deadLetters(before: now), all.filter { $0.deadLetteredAt.map { $0 < now.milliseconds } ?? false }.map(\.id))
      default:
        guard let id = world.randomJob() else { return }
        (selection, ids) = (.ids([id]), [id])
      }
      _ = try? await store.run(in: world) { store async throws(StoreError) in try await store.retryOutbox(selection, at: now) }
      world.ledger.retried(ids, at: now)
    }
  }

  private func discard() {
    perform { [world, store] in
      guard let id = world.randomJob() else { return }
      _ = try? await store.run(in: world) { store async throws(StoreError) in try await store.purgeOutbox(.ids([id]), limit: 1) }
      world.ledger.discarded([id])
    }
  }

  private mutating func changeUser() {
    let ids = world.ledger.accounts.keys.sorted { $0.text < $1.text }
    guard !ids.isEmpty else { return }
    let id = world.random.pick(ids)
    do {
      if world.random.chance(0.3) {
        try store.deleteUser(id)
        world.ledger.usersChanged { $0[id] = nil }
      } else {
        lastAddress += 1
        let address = world.random.chance(0.3) ? "shared@example.com" : "new\(lastAddress)@example.com"
        try store.changeAddress(id, address)
        world.ledger.usersChanged { $0[id]?.email = address }
      }
    } catch {
      world.ledger.violate("the site cannot change its users: \(error)")
    }
  }

  // MARK: - Time

  /// Lets time pass as it does: each task wakes up when its time has come.
  private func advance(_ seconds: Double) {
    var left = seconds
    while let wait = world.nextWakeUp, wait <= left {
      world.leap(wait)
      left -= wait
      runTasks()
    }
    world.leap(left)
  }

  private mutating func finish() {
    world.log("-- no more faults")
    world.hasFaults = false
    (world.isMailServerDown, world.isReceiverDown) = (false, false)
    if serving == nil { startProcess() }
    var rounds = 0
    while rounds < Self.longestEnd {
      rounds += 1
      world.run()
      let waiting = world.ledger.waiting
      if waiting.isEmpty, clients.count == 0 { break }
      guard let wait = world.nextWakeUp else { break }
      let now = world.now.milliseconds
      let nextDue = Double((waiting.map(\.dueAt).min() ?? now) - now) / 1000
      // Nothing happens before the next job is due, unless a process is working on one.
      world.leap(waiting.contains { $0.owner != nil } ? wait : max(wait, nextDue))
    }
    if !world.ledger.waiting.isEmpty || clients.count > 0 {
      world.ledger.violate("after \(rounds) rounds, \(world.ledger.waiting.map(\.id).sorted()) wait and \(clients.count) clients")
    }
    perform { [world, store] in
      let rows = try? await store.run(in: world) { store async throws(StoreError) in
        try await store.outboxRows(after: nil, limit: 1000, deadLettersOnly: false)
      }
      world.ledger.checkEnd(Set((rows ?? []).map(\.id)))
    }
    world.run()
  }

  /// Ends all tasks, so that no memory is lost.
  private func tearDown() {
    for process in processes { process.crash() }
    world.run()
    while let wait = world.nextWakeUp {
      world.leap(wait)
      world.run()
    }
    if processes.contains(where: { !$0.state.hasEnded }) { world.ledger.violate("a process did not end") }
  }
}

extension World {
  /// Returns the id of a job, or `nil` if there is none.
  fileprivate func randomJob() -> Int64? {
    let ids = ledger.jobs.keys.sorted()
    return ids.isEmpty ? nil : random.pick(ids)
  }
}
