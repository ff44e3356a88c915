import ArgumentParser
import Foundation
import PasswordReset
import Webhooks

struct WebhookCommand: CommandGroup {
  static let configuration = CommandConfiguration(
    commandName: "webhook", abstract: "Test the webhook.",
    discussion: "`password-reset outbox` lists the webhooks that wait, and retries dead letters.",
    subcommands: [WebhookTestCommand.self])
}

struct WebhookTestCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "test",
    abstract: "Send a webhook of the type password_reset.test to WEBHOOK_URL, and print the receiver's answer.",
    discussion: """
      The webhook is signed like any other, and names no user. It does not pass through the outbox, and is sent once. Exits with 0 if the receiver \
      accepts it with a status from 200 to 299, and otherwise with 1.
      """
  )

  /// How much of the answer is shown, in characters.
  private static let shownLength = 1000

  func run() async throws {
    try await CommandError.withExitCodes {
      let settings = try WebhookSettings(environment: ProcessInfo.processInfo.environment)
      guard let client = settings.makeClient(connections: 1, now: { Date() }) else {
        throw CommandError(message: "WEBHOOK_URL is not set, so there is no receiver.", code: CommandError.configuration)
      }
      let message = WebhookMessage(
        id: WebhookMessage.makeID(), type: "password_reset.test", time: Date(), userID: nil, requestID: "webhook test")
      let answer: WebhookClient.Answer
      do throws(WebhookError) {
        answer = try await client.post(message)
      } catch {
        throw CommandError(message: "The webhook \(message.id) was not sent: \(error.reason).")
      }
      let text = printable(String(decoding: answer.body, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines))
      if !text.isEmpty { print(text.prefix(Self.shownLength)) }
      guard answer.isAccepted else {
        throw CommandError(message: "The receiver answered the webhook \(message.id) with status \(answer.status), so it did not accept it.")
      }
      print("The receiver accepted the webhook \(message.id) with status \(answer.status).")
    }
  }
}
