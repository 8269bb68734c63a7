import Application
import Foundation
import GolemFleet
import Hummingbird
import Tensors

/// The market: what is well, what is offered, what was paid, who has worked.
struct GolemRoutes: Sendable {
    let application: DeMLApplication

    func add(to router: Router<PageContext>) {
        let streams = GolemStreams(application: application)
        router.get("/api/golem/doctor") { request, _ -> Response in
            let seconds = Self.seconds(request, standard: 8)
            return Response.events { writer in try await streams.doctor(seconds: seconds, &writer) }
        }
        router.get("/api/golem/offers") { request, _ -> Response in
            let machines = request.query("machines").flatMap { Int($0) }.map { max(1, min(10_000, $0)) }
            let hours = request.query("hours").flatMap { Double($0) }.map { max(0, min(1e6, $0)) }
            let wish = OffersRequest(
                marketTime: Self.seconds(request, standard: 15), machines: machines, hours: hours)
            return Response.events { writer in try await streams.offers(wish, &writer) }
        }
        router.get("/api/golem/payments") { _, _ in
            try Response.json(["runs": try await application.payments().reversed().map(Page.init)])
        }
        router.get("/api/golem/providers") { _, _ in
            try Response.json(["providers": try application.providers().prefix(1000).map(Provider.init)])
        }
    }

    private static func seconds(_ request: Request, standard: Double) -> Double {
        max(0.1, min(120, request.query("seconds").flatMap { Double($0) } ?? standard))
    }

    struct Finding: Encodable {
        var subject: String
        var state: String
        var message: String
        var remedy: String?

        init(_ finding: Doctor.Finding) {
            subject = finding.subject
            state = finding.state.rawValue
            message = finding.message.harmless(maximum: 1000)
            remedy = finding.remedy?.harmless(maximum: 500)
        }
    }

    struct Listening: Encodable {
        var offers: Int
        var usable: Int
        /// GLM, by the offers so far; absent while there are fewer than the machines that were asked for.
        var expected: Double?
    }

    struct Offers: Encodable {
        var offers: [MarketSurvey.Line]
        var count: Int
        var steps: [MarketSurvey.Step]
        var machines: Int
        var hours: Double
        var expected: Double?
        var worst: Double
        var isMoney: Bool
        var network: String

        init(_ answer: OffersAnswer) {
            offers = answer.survey.offers.prefix(500).map { line in
                var line = line
                line.provider = line.provider.harmless(maximum: 120)
                line.objection = line.objection?.harmless(maximum: 300)
                return line
            }
            count = answer.survey.offers.count
            steps = answer.survey.steps
            machines = answer.machines
            hours = answer.hours
            expected = answer.expected
            worst = answer.worst
            isMoney = answer.settings.isMainnet
            network = answer.settings.network
        }
    }

    private struct Page: Encodable {
        var page: PaymentBook.Page

        init(_ page: PaymentBook.Page) {
            var page = page
            // The folder in which a prediction of the page is worked on says nothing to a person.
            page.run = page.run.replacing("." + Uploads.work, with: "predictions").harmless(maximum: 200)
            page.note = page.note?.harmless(maximum: 1000)
            page.lines = page.lines.map { line in
                var line = line
                line.provider = line.provider.harmless(maximum: 120)
                line.reason = line.reason?.harmless(maximum: 300)
                return line
            }
            self.page = page
        }

        func encode(to encoder: any Encoder) throws { try page.encode(to: encoder) }
    }

    private struct Provider: Encodable {
        var id: String
        var name: String
        var speed: Double?
        var successes: Double
        var failures: Double
        var reason: String?
        var seen: Double
        var isAskedLast: Bool

        init(_ record: ProviderMemory.Record) {
            id = record.id
            name = record.name.harmless(maximum: 120)
            speed = record.speed
            successes = record.successes
            failures = record.failures
            reason = record.reason?.harmless(maximum: 300)
            seen = record.lastSeen.timeIntervalSince1970
            isAskedLast = record.isAskedLast
        }
    }
}
