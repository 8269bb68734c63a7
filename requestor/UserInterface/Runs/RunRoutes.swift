import Application
import Federation
import Foundation
import Hummingbird
import Reports
import Tensors

/// Runs: the list, one of them, what can be asked of it.
struct RunRoutes: Sendable {
    let library: RunLibrary
    /// Pages that are told of events at a time. Each costs a connection and little else.
    private let streams = Limit(1000) { "\($0) pages follow runs already" }

    init(_ library: RunLibrary) { self.library = library }

    func add(to router: Router<PageContext>) {
        router.get("/api/runs") { _, _ in
            try Response.json(["runs": try library.list()])
        }
        router.get("/api/runs/:run") { _, context in
            try Response.json(try details(try folder(context)))
        }
        router.get("/api/runs/:run/live") { _, context in
            live(try folder(context))
        }
        router.get("/api/runs/:run/report") { _, context in
            let folder = try folder(context)
            var response = try await Response.file(
                folder.report, type: "text/html; charset=utf-8", context: context)
            // It may come from anybody: no scripts, nothing from elsewhere, no name of ours.
            response.headers[.contentSecurityPolicy] =
                "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; sandbox"
            if let name = HTTPField.Name("X-Frame-Options") { response.headers[name] = "SAMEORIGIN" }
            return response
        }
        router.get("/api/runs/:run/model") { request, context in
            let folder = try folder(context)
            let isLast = request.query("which") == "last"
            let name = Files.name(of: folder.path) + (isLast ? "-last" : "-best") + ".safetensors"
            return try await Response.file(
                isLast ? folder.model : folder.best, type: "application/octet-stream", download: name, context: context)
        }
        router.get("/api/runs/:run/log") { _, context in
            try Response.json(["text": library.background.output(of: try folder(context), maximum: 64 << 10)])
        }
        router.post("/api/runs/:run/stop") { _, context in
            try library.background.stop(try folder(context))
            return try Response.json(["stopping": true])
        }
        router.post("/api/runs/:run/resume") { request, context in
            struct Wish: Decodable {
                var rounds: Int?
                /// GLM that the page has named where machines are rented.
                var agreedGLM: Double?
            }
            let folder = try folder(context)
            let wish = try await request.json(Wish.self)
            let configuration = try folder.readConfiguration()
            if let rounds = wish.rounds, rounds < configuration.federation.rounds || rounds > 1_000_000 {
                throw PageError(
                    .unprocessableContent,
                    "the run has \(configuration.federation.rounds) rounds; there may be more, not fewer",
                    place: "rounds")
            }
            try Consent.check(configuration, agreed: wish.agreedGLM, library.application)
            try library.background.resume(folder, rounds: wish.rounds)
            return try Response.json(["run": Files.name(of: folder.path)])
        }
        router.get("/api/compare") { request, _ in
            let names = request.uri.queryParameters.filter { $0.key == "run" }.map { String($0.value) }
            guard (2...8).contains(names.count) else {
                throw PageError(.unprocessableContent, "two to eight runs are compared, not \(names.count)")
            }
            return try Response.json(try comparison(names))
        }
    }

    private func folder(_ context: PageContext) throws -> RunFolder {
        let text = context.parameters.get("run") ?? ""
        return try library.folder(text.removingPercentEncoding ?? text)
    }

    private func live(_ folder: RunFolder) -> Response {
        let hub = library.hub(folder)
        let streams = streams
        return .events { writer in
            // Counted where it is written: a reader that goes before that was none.
            try streams.enter()
            let (id, wakes) = hub.look()
            defer {
                hub.leave(id)
                streams.leave()
            }
            var knowledge = RunHub.Knowledge()
            for await _ in wakes {
                if let line = try hub.news(for: &knowledge) {
                    var bytes = Array("data: ".utf8)
                    bytes.reserveCapacity(line.count + 8)
                    bytes += line
                    bytes.append(UInt8(ascii: "\n"))
                    try await writer.write(ByteBuffer(bytes: bytes))
                } else {
                    // A comment, so that a connection that is gone is noticed by both.
                    try await writer.write(ByteBuffer(string: ":\n\n"))
                }
            }
        }
    }

    // MARK: One run

    private struct Details: Encodable {
        var card: RunLibrary.Card
        var decisions: [Decision]
        var settings: [Setting]
        var classes: [String]?
        var input: [Int]?
        var summary: Summary?
        var places: [Place]
        var hasReport: Bool
        var hasModel: Bool
        var budget: Double?

        struct Decision: Encodable {
            var subject: String
            var text: String
            var isWarning: Bool
        }

        struct Place: Encodable {
            var name: String
            var accuracy: Double?
            var loss: Double
            var seconds: Double
            var curve: [[Double]]
        }
    }

    private func details(_ folder: RunFolder) throws -> Details {
        let name = Files.name(of: folder.path)
        let card = library.card(folder, name: name)
        let configuration = Files.exists(folder.config) ? try folder.readConfiguration() : nil
        let data = try? folder.readData()
        let summary = Files.exists(folder.summary) ? try? folder.readSummary() : nil
        let places = summary.map { RunReporting.places($0, workers: configuration?.federation.workers ?? 1) } ?? []
        return Details(
            card: card,
            decisions: data?.decisions.map {
                .init(
                    subject: $0.subject.harmless(maximum: 100), text: $0.text.harmless(maximum: 1000),
                    isWarning: $0.isWarning)
            } ?? [],
            settings: configuration.map(Self.settings) ?? [],
            classes: data?.schema.classNames?.prefix(200).map { $0.harmless(maximum: 100) },
            input: data?.schema.inputShape, summary: summary,
            places: places.map { place in
                .init(
                    name: place.name, accuracy: place.accuracy.isFinite ? place.accuracy : nil, loss: place.loss,
                    seconds: place.seconds, curve: place.curve.map { [$0.round, $0.accuracy, $0.loss] })
            },
            hasReport: Files.exists(folder.report), hasModel: Files.exists(folder.best),
            budget: configuration.flatMap { Consent.budget($0, library.application) })
    }

    /// Settings that are not at their defaults, a line each.
    static func settings(_ configuration: RunConfiguration) -> [Setting] {
        RunConfiguration().allDifferences(to: configuration).map {
            Setting(key: $0.key, value: $0.now.harmless(maximum: 4000))
        }
    }

    // MARK: Several

    struct Setting: Encodable {
        var key: String
        var value: String
    }

    private struct Compared: Encodable {
        struct Row: Encodable {
            var run: String
            var state: RunState
            var accuracy: Double?
            var loss: Double?
            /// The round of the best model, and its results on the test set.
            var bestRound: Int?
            var bestAccuracy: Double?
            var bestLoss: Double?
            /// Its last model is the best of all.
            var isFirst = false
            var seconds: Double
            var cost: Double?
            var parameters: Int?
            var curve: [[Double]]
        }
        struct Difference: Encodable {
            var key: String
            var values: [String]
        }
        var runs: [Row]
        var differences: [Difference]
    }

    /// Runs side by side, also those that go on: as far as they have come.
    private func comparison(_ names: [String]) throws -> Compared {
        let folders = try names.map { try library.folder($0) }
        var rows: [Compared.Row] = []
        var configurations: [RunConfiguration] = []
        for (folder, name) in zip(folders, names) {
            let card = library.card(folder, name: name)
            guard Files.exists(folder.config) else {
                throw PageError(.unprocessableContent, "the run has not begun", place: name)
            }
            configurations.append(try folder.readConfiguration())
            let metrics = Files.exists(folder.metrics) ? try folder.readMetrics() : []
            let best = RoundMetrics.best(of: metrics)
            let points = metrics.filter { $0.round > 0 }.map {
                [Double($0.round), $0.accuracy ?? .nan, $0.loss]
            }
            rows.append(
                .init(
                    run: name, state: card.state, accuracy: card.accuracy, loss: card.loss,
                    bestRound: best?.round, bestAccuracy: best?.accuracy, bestLoss: best?.loss, seconds: card.seconds,
                    cost: card.cost, parameters: card.parameters, curve: RunLibrary.thinned(points, to: 400)))
        }
        if let first = Merit.best(of: rows.map { Merit(accuracy: $0.accuracy, loss: $0.loss ?? .nan) }) {
            rows[first].isFirst = true
        }
        var differences: [Compared.Difference] = []
        for (index, configuration) in configurations.enumerated().dropFirst() {
            for found in configurations[0].allDifferences(to: configuration) where found.key != "output" {
                let place =
                    differences.firstIndex { $0.key == found.key }
                    ?? {
                        differences.append(
                            .init(
                                key: found.key,
                                values: [String](repeating: found.was.harmless(maximum: 500), count: names.count)))
                        return differences.count - 1
                    }()
                differences[place].values[index] = found.now.harmless(maximum: 500)
            }
        }
        return Compared(runs: rows, differences: differences)
    }
}
