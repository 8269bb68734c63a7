import Federation
import Fleets
import Foundation
import Inference
import Jobs
import NeuralNetwork
import Synchronization
import Tensors
import Testing

/// A fleet of providers in this process, each with its own manners.
private struct PlayedFleet: Fleet {
    let name = "simulated"
    let needsFiles = false
    let providers: Int
    /// Changes the values of an answer, or throws.
    let manner: @Sendable (_ provider: Int, _ job: FleetJob, _ values: inout [Float]) async throws -> Void
    let book = Book()

    final class Book: Sendable {
        struct Pages {
            var free: Set<Int> = []
            var left: [String] = []
            var open: [String: Int] = [:]
            var jobs: [String] = []
        }

        let pages = Mutex(Pages())
    }

    func withSession<Value: Sendable>(
        _ plan: FleetPlan, notice: @escaping @Sendable (FleetNotice) -> Void,
        _ body: @escaping @Sendable (any FleetSession) async throws -> Value
    ) async throws -> SessionEnd<Value> {
        book.pages.withLock { $0.free = Set(0..<providers) }
        return try await SimulatedFleet(threads: providers).withSession(plan, notice: notice) { session in
            try await body(PlayedSession(fleet: self, session: session))
        }
    }
}

private struct PlayedSession: FleetSession {
    let fleet: PlayedFleet
    let session: any FleetSession

    func perform(
        _ job: FleetJob, progress: @escaping @Sendable (JobProgress) -> Void
    ) async throws -> JobAnswer {
        var taken: Int?
        while taken == nil {
            try Task.checkCancellation()
            taken = fleet.book.pages.withLock { pages in
                let free = pages.free.filter { number in
                    !job.avoiding.contains("p\(number)") && !pages.left.contains("p\(number)")
                }.min()
                if let free { pages.free.remove(free) }
                return free
            }
            if taken == nil { await Task.yield() }
        }
        let number = taken ?? 0
        defer { fleet.book.pages.withLock { _ = $0.free.insert(number) } }
        fleet.book.pages.withLock { $0.jobs.append(job.name) }
        let provider = Provider(id: "p\(number)", name: "p\(number)")
        progress(.started(provider))
        var answer = try await session.perform(job) { _ in }
        guard case .predictions(var values) = answer.output else { throw DeMLError(.internal, "no predictions") }
        try await fleet.manner(number, job, &values)
        answer.output = .predictions(values)
        answer.provider = provider
        return answer
    }

    func judge(_ verdict: WorkVerdict, of provider: Provider) async {
        fleet.book.pages.withLock { pages in
            switch verdict {
            case .open: pages.open[provider.id, default: 0] += 1
            case .closed: pages.open[provider.id, default: 0] -= 1
            case .wrong: pages.left.append(provider.id)
            }
        }
    }
}

private final class Events: Sendable {
    private let list = Mutex<[InferenceEvent]>([])

    func add(_ event: InferenceEvent) { list.withLock { $0.append(event) } }
    var all: [InferenceEvent] { list.withLock { $0 } }
    var kept: [InferenceEvent.Kept] { all.compactMap { if case .kept(let kept) = $0 { kept } else { nil } } }
    var dropped: [Int] { all.compactMap { if case .dropped(let shard) = $0 { shard } else { nil } } }
    var wrong: [RunEvent.Audit] {
        all.compactMap { if case .audited(let audit) = $0, audit.verdict == .wrong { audit } else { nil } }
    }
    var last: InferenceEvent.Progress? {
        all.reversed().lazy.compactMap { if case .progress(let progress) = $0 { progress } else { nil } }.first
    }
}

/// Rows and a model for which a shard has a few rows only.
private struct Problem {
    let path: String
    let model: Inference.Model
    let rows: Tensor
    let here: [Float]

    /// - Parameter seed: of the rows.
    init(rows count: Int = 400, seed: UInt64 = 1) throws {
        path = NSTemporaryDirectory() + "deml-inference-" + UUID().uuidString
        try Files.createDirectory(path)
        // Heavy enough for its multiply-adds that 400 rows are cut into many shards.
        let description = try ModelDescription(
            json: """
                {"input":{"shape":[2048]},"layers":[{"type":"linear","out_features":8},{"type":"relu"},
                 {"type":"linear","out_features":3}],"loss":"cross_entropy"}
                """)
        let weights = Initializer.weights(for: description, seed: 4)
        let file = path + "/model.safetensors"
        let sha256 = try weights.safetensors(round: 0).write(to: file)
        model = Inference.Model(
            file: StoredFile(path: file, sha256: sha256, byteCount: Files.size(of: file) ?? 0),
            weights: try WeightsFile(try Safetensors(contentsOf: file)))
        var random = SeededGenerator(seed: seed, purpose: "rows")
        rows = Tensor(shape: [count, 2048], floats: (0..<count * 2048).map { _ in Float(random.normal()) })
        here = try predict(weights: weights, x: rows).floats()
    }

    func inference(
        audit: AuditPolicy = .auto, rows: Tensor? = nil, form: WorkerJob.PredictionForm = .answers, part: String = "all"
    ) throws(DeMLError) -> Inference {
        var settings = Inference.Settings(machines: 3, audit: audit)
        settings.retries = 50
        return try Inference(
            model: model, rows: rows ?? self.rows, form: form, settings: settings, folder: path + "/work",
            names: ("model.safetensors", "rows", part), rowsPerShard: 23)
    }

    func remove() { try? FileManager.default.removeItem(atPath: path) }
}

/// Whole runs, with fleets that behave and fleets that do not.
@Suite("Predictions by a fleet")
struct InferenceRunTests {
    @Test("honest machines: the bytes of this machine, in order")
    func honest() async throws {
        let problem = try Problem()
        defer { problem.remove() }
        let events = Events()
        let inference = try problem.inference()
        let result = try await inference.run(on: PlayedFleet(providers: 3) { _, _, _ in }) { events.add($0) }
        #expect(try inference.values().map(\.bitPattern) == problem.here.map(\.bitPattern))
        #expect(events.kept.map(\.shard).sorted() == Array(0..<18) && events.last?.rowsDone == 400)
        #expect(result.audits?.audited == 18 && result.audits?.mismatches == 0)
        #expect(result.providers.reduce(0) { $0 + $1.rows } == 400)
        inference.removeFolder()
        #expect(!Files.exists(problem.path + "/work"))
    }

    @Test("one that lies, from its first answer or later: found, left, and nothing of it stays", arguments: 1...4)
    func liar(from first: Int) async throws {
        let problem = try Problem()
        defer { problem.remove() }
        let answers = Mutex(0)
        let fleet = PlayedFleet(providers: 3) { provider, _, values in
            guard provider == 1,
                answers.withLock({
                    $0 += 1
                    return $0
                }) >= first
            else { return }
            // Plausible: probabilities of other classes.
            for index in values.indices { values[index] = 1 - values[index] }
        }
        let events = Events()
        let inference = try problem.inference()
        let result = try await inference.run(on: fleet) { events.add($0) }
        #expect(try inference.values().map(\.bitPattern) == problem.here.map(\.bitPattern))
        let asked = answers.withLock { $0 }
        #expect(asked < first || Set(events.wrong.map(\.provider.name)) == ["p1"])
        #expect(asked < first || fleet.book.pages.withLock { Set($0.left) } == ["p1"])
        #expect(asked < first || !result.providers.contains { $0.provider.name == "p1" && $0.rows > 0 })
        #expect(fleet.book.pages.withLock { $0.open.values.allSatisfy { $0 == 0 } })
    }

    @Test("one wrong row is found where all are looked at")
    func oneRow() async throws {
        let problem = try Problem()
        defer { problem.remove() }
        let fleet = PlayedFleet(providers: 2) { _, job, values in
            if job.name == "0-7-1" { values[5] = values[5].nextUp }
        }
        let events = Events()
        let inference = try problem.inference(audit: .all)
        _ = try await inference.run(on: fleet) { events.add($0) }
        #expect(try inference.values().map(\.bitPattern) == problem.here.map(\.bitPattern))
        #expect(events.wrong.map(\.client) == [7] && fleet.book.pages.withLock { $0.left.count } == 1)
    }

    @Test("failures are given to others, and end with a sentence when nobody can")
    func failures() async throws {
        let problem = try Problem()
        defer { problem.remove() }
        let inference = try problem.inference()
        let flaky = PlayedFleet(providers: 3) { provider, job, _ in
            if provider == 0, job.name.hasSuffix("-1") {
                throw WorkerFailure(.lost, provider: Provider(id: "p0", name: "p0"), stage: "predict", message: "gone")
            }
        }
        _ = try await inference.run(on: flaky) { _ in }
        #expect(try inference.values().map(\.bitPattern) == problem.here.map(\.bitPattern))

        let other = try Problem(seed: 9)
        defer { other.remove() }
        let bad = PlayedFleet(providers: 2) { _, _, _ in
            throw WorkerFailure(.lost, provider: nil, stage: "predict", message: "gone", isRetryable: false)
        }
        let hopeless = try other.inference()
        let error = await #expect(throws: DeMLError.self) { try await hopeless.run(on: bad) { _ in } }
        #expect(error?.code == .workerFailed && error?.hint?.contains("the same command goes on") == true)
    }

    @Test("stopped in the middle, the same question goes on with what is done")
    func goesOn() async throws {
        let problem = try Problem()
        defer { problem.remove() }
        let first = Events()
        do {
            let inference = try problem.inference()
            let fleet = PlayedFleet(providers: 2) { _, _, _ in }
            let task = Task {
                try await inference.run(on: fleet) { event in
                    first.add(event)
                }
            }
            while first.kept.count < 6 { await Task.yield() }
            task.cancel()
            let outcome = await task.result
            // All may have been done before it was heard.
            if case .failure(let error) = outcome { #expect(error is InferenceInterrupted) }
        }
        // A file that a crash has damaged is not taken.
        let names = try Files.names(in: problem.path + "/work/done")
        try Files.writeAtomically(Array("no tensors".utf8), to: problem.path + "/work/done/" + names[0])
        let second = Events()
        let inference = try problem.inference()
        let fleet = PlayedFleet(providers: 2) { _, _, _ in }
        _ = try await inference.run(on: fleet) { second.add($0) }
        #expect(try inference.values().map(\.bitPattern) == problem.here.map(\.bitPattern))
        #expect(second.kept.count == 18 - names.count + 1)
        #expect(Set(second.kept.map(\.shard)).isDisjoint(with: names.dropFirst().compactMap { Int($0.prefix(6)) }))
    }

    @Test("a start with another model, data or rows is refused by name; two at once too")
    func refused() throws {
        let problem = try Problem()
        defer { problem.remove() }
        var inference: Inference? = try problem.inference()
        let atOnce = #expect(throws: DeMLError.self) { try problem.inference() }
        #expect(atOnce?.message.contains("another process") == true)
        #expect(inference != nil)
        inference = nil

        let other = try Problem(seed: 2)
        defer { other.remove() }
        var error = #expect(throws: DeMLError.self) { try problem.inference(rows: other.rows) }
        #expect(error?.message.contains("the data is not what it was") == true && error?.code == .usage)
        error = #expect(throws: DeMLError.self) { try problem.inference(rows: problem.rows.rows(0..<40), part: "test") }
        #expect(error?.message.contains("the rows were all (400) and are test (40)") == true)
        error = #expect(throws: DeMLError.self) { try problem.inference(form: .outputs) }
        #expect(error?.message.contains("answers were asked for and now the outputs") == true)
        try Files.writeAtomically(Array("{}".utf8), to: problem.path + "/work/question.json")
        error = #expect(throws: DeMLError.self) { try problem.inference() }
        #expect(error?.code == .malformed && error?.place?.hasSuffix("question.json") == true)
        try Files.remove(problem.path + "/work/question.json")
        try Files.writeAtomically([], to: problem.path + "/work/letters")
        error = #expect(throws: DeMLError.self) { try problem.inference() }
        #expect(error?.message.contains("something else") == true)
    }

    @Test("a text comes as it would be written here; one other token is found where all are looked at")
    func text() async throws {
        let path = NSTemporaryDirectory() + "deml-inference-" + UUID().uuidString
        try Files.createDirectory(path)
        defer { try? FileManager.default.removeItem(atPath: path) }
        let description = try ModelDescription(
            json: """
                {"input":{"shape":[8],"tokens":6},"layers":[{"type":"embedding","embedding_dim":4},
                 {"type":"gru","hidden_size":5},{"type":"linear","out_features":6}],"loss":"cross_entropy"}
                """)
        let weights = Initializer.weights(for: description, seed: 4)
        let file = path + "/model.safetensors"
        let sha256 = try weights.safetensors(round: 0).write(to: file)
        let model = Inference.Model(
            file: StoredFile(path: file, sha256: sha256, byteCount: Files.size(of: file) ?? 0),
            weights: try WeightsFile(try Safetensors(contentsOf: file)))
        let (row, text) = TextContinuation.row(
            of: [1, 2, 3], context: 8, tokens: 100, sampling: .init(temperature: 3, seed: 1))
        var here: [Float] = []
        try TextGenerator(weights).generate(after: [1, 2, 3], count: 100, text.sampling) {
            here.append(Float($0))
            return true
        }
        // At first one token of the text is another, then all are from there on.
        for (name, change) in [("one", 70..<71), ("all", 0..<100)] {
            let fleet = PlayedFleet(providers: 2) { provider, _, values in
                guard provider == 0 else { return }
                for index in change { values[index] = Float((Int(values[index]) + 1) % 6) }
            }
            let inference = try Inference(
                model: model, rows: row, form: .text(text),
                settings: Inference.Settings(machines: 1, audit: name == "one" ? .all : .auto),
                folder: path + "/" + name, names: ("model", "the prompt", "text"))
            let events = Events()
            let result = try await inference.run(on: fleet) { events.add($0) }
            #expect(try inference.values() == here, "\(name)")
            #expect(events.wrong.map(\.provider.name) == ["p0"] && result.audits?.mismatches == 1, "\(name)")
            #expect(fleet.book.pages.withLock { $0.left } == ["p0"], "\(name)")
        }
        var other = text
        other.sampling.seed = 2
        let error = #expect(throws: DeMLError.self) {
            try Inference(
                model: model, rows: row, form: .text(other), settings: .init(machines: 1, audit: .off),
                folder: path + "/one", names: ("model", "the prompt", "text"))
        }
        #expect(error?.message.contains("were asked for") == true)
    }
}
