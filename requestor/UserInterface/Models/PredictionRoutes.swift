import Application
import Federation
import Foundation
import GolemFleet
import Hummingbird
import NeuralNetwork
import Tensors

/// A whole file for a model, by other processes or rented machines: `deml predict --on`, as a process of its own whose output
/// lies beside the upload. So it outlives the page, and the same question goes on where it was stopped.
struct PredictionRoutes: Sendable {
    let library: RunLibrary
    let uploads: Uploads
    let places: Places
    /// The weights that a name stands for.
    let model: @Sendable (PageContext) async throws -> String
    /// Keeps which model predictions are of.
    let remember: @Sendable (_ model: String, _ path: String) throws -> Void

    private var background: BackgroundRuns { library.background }

    private struct Wish: Decodable {
        var data: String
        /// `local` or `golem`.
        var fleet: String
        var budget: Double?
        /// GLM that the button has named.
        var agreedGLM: Double?
    }

    /// What it may cost on Golem.
    private struct Cost: Encodable {
        var rows: Int
        var machines: Int
        /// That slow machines would take.
        var seconds: Double
        /// GLM: at the highest price allowed for these seconds, and for an hour.
        var likely: Double
        var worst: Double
    }

    private struct Answer: Encodable {
        var state: RunState
        var done: Int?
        var rows: Int?
        /// The newest of what was said.
        var lines: [String]
        var message: String?
        var download: String?
        /// Of the end: rows, seconds, cost.
        var summary: JSONTree?
    }

    func add(to router: Router<PageContext>) {
        router.post("/api/models/:model/predict/elsewhere") { request, context in
            let model = try await model(context)
            let wish = try await request.json(Wish.self)
            guard ["local", "golem"].contains(wish.fleet) else {
                throw PageError(.unprocessableContent, "there is no such place", place: wish.fleet)
            }
            var arguments = [
                "predict", "--model", model, "--data", try places.resolved(wish.data), "--split", "all", "--count", "0",
                "--on", wish.fleet, "--json",
            ]
            if wish.fleet == "golem" {
                let budget = wish.budget ?? GolemSettings().budget.glm
                guard budget > 0, budget.isFinite else {
                    throw PageError(.unprocessableContent, "the budget is to be above 0", place: "budget")
                }
                guard wish.agreedGLM == budget else {
                    throw PageError(
                        .conflict, "this rents machines for up to \(budget) GLM, and nobody has agreed to that",
                        place: "budget")
                }
                arguments += ["--budget", "\(budget)"]
            }
            let id = try wish.data.wholeMatch(of: Uploads.reference).map { String($0.1) } ?? uploads.begin()
            let files = try files(id)
            guard background.state(files.log, log: files.log) != .working else {
                throw PageError(.conflict, "this is being predicted already", hint: "wait for its end, or stop it")
            }
            try await atLeisure { try remember(model, try uploads.own(id, Uploads.description)) }
            try Files.remove(files.log)
            try Files.remove(files.output)
            try background.launch(arguments + ["--output", files.output], key: files.log, log: files.log)
            return try Response.json(["job": id], status: .created)
        }
        router.post("/api/models/:model/predict/cost") { request, context in
            struct Wish: Decodable { var data: String }
            let model = try await model(context)
            let data = try places.resolved(try await request.json(Wish.self).data)
            let application = library.application
            return try Response.json(
                try await atLeisure {
                    let cost = try application.cost(
                        of: PredictRequest(model: model, data: DataRequest(data: data), part: .all, count: 0),
                        on: FleetPlace(.golem))
                    return Cost(
                        rows: cost.plan.rows, machines: cost.plan.machines, seconds: cost.plan.carefulSeconds,
                        likely: cost.likely, worst: cost.worst)
                })
        }
        router.get("/api/predictions/:job") { _, context in
            try Response.json(try answer(context.parameters.get("job") ?? ""))
        }
        router.post("/api/predictions/:job/stop") { _, context in
            let files = try files(context.parameters.get("job") ?? "")
            try background.stop(files.log, log: files.log)
            return try Response.json(["stopping": true])
        }
    }

    private func files(_ id: String) throws -> (log: String, output: String) {
        (try uploads.own(id, Uploads.log), try uploads.own(id, Uploads.answers))
    }

    private func answer(_ id: String) throws -> Answer {
        let files = try files(id)
        guard Files.exists(files.log) else { throw PageError(.notFound, "nothing is predicted under this name") }
        let text = BackgroundRuns.end(of: files.log, maximum: 64 << 10)
        let lines = text.split(separator: "\n").map(String.init)
        let state = background.state(files.log, log: files.log)
        let progress = lines.reversed().lazy.compactMap { $0.firstMatch(of: /([0-9,]+) of ([0-9,]+) rows/) }.first
        func number(_ text: Substring) -> Int? { Int(text.filter(\.isNumber)) }
        var answer = Answer(
            state: .working, done: progress.flatMap { number($0.1) }, rows: progress.flatMap { number($0.2) },
            lines: lines.suffix(12).filter { !$0.hasPrefix("{") })
        guard state != .working else { return answer }
        if case .ended(0)? = state, Files.exists(files.output) {
            answer.state = .finished
        } else if state == nil, lines.last?.hasPrefix("{") == true, Files.exists(files.output) {
            // It ended while nobody looked.
            answer.state = .finished
        } else {
            answer.state = state == .ended(130) ? .interrupted : .failed
            answer.message =
                text.range(of: "error: ", options: .backwards).map { String(text[$0.upperBound...]) }
                ?? lines.last
        }
        if answer.state == .finished {
            answer.download = "/api/uploads/\(id)/predictions"
            answer.summary = lines.last.flatMap {
                try? JSONDecoder().decode(JSONTree.self, from: Data($0.utf8))
            }
        }
        return answer
    }
}
