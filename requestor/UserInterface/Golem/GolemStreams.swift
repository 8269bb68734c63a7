import Application
import Foundation
import GolemFleet
import Hummingbird

/// The findings of the doctor and what the market offers, told as they come.
struct GolemStreams: Sendable {
    let application: DeMLApplication

    private enum Step: Sendable {
        case progress(MarketSurvey.Progress)
        case answer(OffersAnswer)
    }

    func doctor(seconds: Double, _ writer: inout any ResponseBodyWriter) async throws {
        let (findings, continuation) = AsyncStream.makeStream(of: Doctor.Finding.self)
        let examining = Task {
            await application.doctor(marketTime: seconds) { continuation.yield($0) }
            continuation.finish()
        }
        defer { examining.cancel() }
        for await finding in findings { try await writer.event("finding", GolemRoutes.Finding(finding)) }
        try await writer.event("done", [String: String]())
    }

    func offers(_ request: OffersRequest, _ writer: inout any ResponseBodyWriter) async throws {
        let (steps, continuation) = AsyncThrowingStream.makeStream(of: Step.self)
        let listening = Task {
            do {
                let answer = try await application.offers(request) { continuation.yield(.progress($0)) }
                continuation.yield(.answer(answer))
                continuation.finish()
            } catch { continuation.finish(throwing: error) }
        }
        defer { listening.cancel() }
        for try await step in steps {
            switch step {
            case .progress(let now):
                let expected = request.machines.flatMap {
                    now.expectedCost(machines: $0, hours: request.hours ?? 1)
                }
                try await writer.event(
                    "progress", GolemRoutes.Listening(offers: now.offers, usable: now.usable, expected: expected))
            case .answer(let answer): try await writer.event("offers", GolemRoutes.Offers(answer))
            }
        }
        try await writer.event("done", [String: String]())
    }
}
