package import Credentials
package import Foundation
package import PasswordReset
import Synchronization

extension MemoryStore: AuditStore {
  package func append(_ lines: [AuditLine]) async throws(StoreError) {
    state.withLock { state in
      for line in lines { state.insert(line.record, requestID: line.requestID, at: line.at) }
    }
  }

  package func purgeAudit(before date: Date, limit: Int) async throws(StoreError) -> Int {
    state.withLock { state in
      let old = Set(state.audit.filter { $0.at < date }.sorted { ($0.at, $0.id) < ($1.at, $1.id) }.prefix(limit).map(\.id))
      state.audit.removeAll { old.contains($0.id) }
      return old.count
    }
  }

  package func purgeCancellations(before time: TokenTime, limit: Int) async throws(StoreError) -> Int {
    state.withLock { state in
      let old = state.cancellations.filter { $0.value < time.milliseconds }.sorted { $0.value < $1.value }.prefix(limit)
      for (id, _) in old { state.cancellations[id] = nil }
      return old.count
    }
  }
}

extension MemoryStore: AuditReader {
  package func auditRows(_ filter: AuditFilter, limit: Int) async throws(StoreError) -> [AuditRow] {
    state.withLock { state in
      Array(state.audit.filter(filter.matches).sorted { ($0.at, $0.id) < ($1.at, $1.id) }.suffix(limit))
    }
  }

  package func auditRows(after id: Int64, or others: [Int64], limit: Int) async throws(StoreError) -> [AuditRow] {
    state.withLock { state in
      let others = Set(others)
      return Array(state.audit.filter { $0.id > id || others.contains($0.id) }.prefix(limit))
    }
  }

  package func lastAuditID() async throws(StoreError) -> Int64 { state.withLock { $0.audit.last?.id ?? 0 } }
}
