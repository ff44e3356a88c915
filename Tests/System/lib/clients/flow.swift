// Takes a user through the flow with the Swift client of openapi-generator.
import Foundation
import ResetClient

struct Unexpected: Error {}

func check(_ condition: Bool) throws {
  if !condition { throw Unexpected() }
}

/// Returns the problem document with which the service refuses a call.
@MainActor func refusal<Problem: Decodable, Result>(as type: Problem.Type, _ call: () async throws(ErrorResponse) -> Result) async throws -> Problem {
  do {
    _ = try await call()
  } catch .error(_, let data?, _, _) {
    return try ResetClientAPIConfiguration.shared.codableHelper.decode(type, from: data).get()
  }
  throw Unexpected()
}

@main struct Flow {
  static func main() async throws {
    let good = "battery-staple-92-new"
    ResetClientAPIConfiguration.shared.basePath = CommandLine.arguments[1]
    let mistyped = try await refusal(as: RequestProblem.self) { () async throws(ErrorResponse) in
      try await ResetAPI.requestPasswordReset(resetRequest: ResetRequest(email: "alice@"))
    }
    let mistake = mistyped.errors?.email?.first?.code
    try check(mistyped.code == .validationError && mistake == .invalid)
    print("refused:", mistyped.code.rawValue, mistake?.rawValue ?? "")
    print("accepted:", try await ResetAPI.requestPasswordReset(resetRequest: ResetRequest(email: "alice@example.com", locale: "en")).detail)
    let link = readLine()?.split(separator: " ").map(String.init) ?? []
    let (uid, token) = (link[0], link[1])

    let state = try await ResetAPI.checkResetLink(uidb64: uid, token: token)
    try check(state.expiresAt.map { $0 > Date() } == true)
    print("valid:", state.passwordRules?.count ?? 0, "rules")
    func set(_ password: String) async throws(ErrorResponse) -> PasswordSet {
      let body = NewPassword(newPassword1: password, newPassword2: password)
      return try await ResetAPI.setPassword(uidb64: uid, token: token, newPassword: body)
    }
    let weak = try await refusal(as: PasswordProblem.self) { () async throws(ErrorResponse) in try await set("1234") }
    let first = weak.errors?.newPassword2?.first
    try check(weak.validlink == true && first?.code == .passwordTooShort)
    print("refused:", weak.code.rawValue, first?.code.rawValue ?? "", first?.params?.minLength ?? 0)
    print("set:", try await set(good).detail)
    let second = try await refusal(as: PasswordProblem.self) { () async throws(ErrorResponse) in try await set(good) }
    try check(second.code == .invalidLink && second.errors == nil)
    print("refused:", second.code.rawValue)
    let used = try await ResetAPI.checkResetLink(uidb64: uid, token: token)
    try check(!used.validlink && used.code == .invalidLink)
    print("used:", used.code?.rawValue ?? "")
    print("cancelled:", try await ResetAPI.cancelResetLinks(uidb64: uid, token: token).detail)
  }
}
