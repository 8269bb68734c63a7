import Jobs
import NeuralNetwork
import Tensors
import Testing

#if canImport(Glibc)
    import Glibc
#endif

/// A training of three epochs on 100 examples in batches of 32: four steps an epoch, twelve in all.
enum Sample {
    static let weights = String(repeating: "a", count: 64)
    static let shard = String(repeating: "b", count: 64)
    static let output = String(repeating: "c", count: 64)
    static let examples = 100

    static func job(_ kind: WorkerJob.Kind = .train(TrainingOptions(epochs: 3, batchSize: 32)), partial: Bool = false)
        -> WorkerJob
    {
        WorkerJob(
            kind,
            inputs: [.weights: .init(path: "w", sha256: weights), .shard: .init(path: "s", sha256: shard)],
            output: "d", report: "r", limits: .init(maxSeconds: partial ? 10 : nil, allowsPartialWork: partial))
    }

    static let machine = Receipt.Machine(seconds: 1.5, samplesPerSecond: 300, threads: 2, isa: "avx2")

    static func training(_ change: (inout Receipt.Training) -> Void = { _ in }) -> Receipt {
        var training = Receipt.Training(
            examples: examples, steps: 12,
            epochs: (1...3).map { Receipt.Epoch(loss: 1 / Double($0), accuracy: 0.5, seconds: 0.25) },
            stoppedEarly: false, machine: machine,
            digests: .init(weights: weights, shard: shard, output: output))
        change(&training)
        return Receipt(command: "train", outcome: .trained(training))
    }
}

@Suite struct ReceiptTests {
    @Test func hasTheDocumentedKeys() throws {
        let receipt = Sample.training {
            $0.epochs = [Receipt.Epoch(loss: 0.5, accuracy: 0.75, seconds: 0.25)]
            $0.digests = .init(weights: "w", shard: "s", output: "d")
        }
        #expect(
            canonicalJSON(receipt) == """
                {"command":"train","delta_sha256":"d","epochs":[{"accuracy":0.75,"loss":0.5,"seconds":0.25}],\
                "examples":100,"isa":"avx2","kernels":\(kernelsVersion),"samples_per_second":300,"seconds":1.5,\
                "shard_sha256":"s","status":"ok","steps":12,"stopped_early":false,"threads":2,\
                "version":"\(demlVersion)","weights_sha256":"w"}
                """)
        let error = Receipt(
            command: "train", stage: Stage("read-shard", file: "/in/shard"),
            error: DeMLError(.truncated, "it ends early", place: "/in/shard: tensor 'x'", hint: "send it again"))
        #expect(
            canonicalJSON(error) == """
                {"code":"truncated","command":"train","file":"/in/shard","hint":"send it again",\
                "kernels":\(kernelsVersion),"message":"tensor 'x': it ends early","stage":"read-shard",\
                "status":"error","version":"\(demlVersion)"}
                """)
        #expect(
            canonicalJSON(Receipt(command: "predict", outcome: .running)) == """
                {"command":"predict","kernels":\(kernelsVersion),"status":"running","version":"\(demlVersion)"}
                """)
    }

    @Test func comesBackAsItWas() throws {
        let digests = Receipt.Digests(weights: Sample.weights, shard: Sample.shard)
        let outcomes: [(String, Receipt.Outcome)] = [
            ("train", .running), ("train", Sample.training().outcome),
            (
                "evaluate",
                .evaluated(
                    .init(
                        examples: 3, loss: 0.25, accuracy: 1, confusion: [[2, 0], [0, 1]], machine: Sample.machine,
                        digests: digests))
            ),
            (
                "evaluate",
                .evaluated(
                    .init(
                        examples: 3, loss: 0.25, accuracy: nil, confusion: [], machine: Sample.machine,
                        digests: digests))
            ),
            (
                "predict",
                .predicted(
                    .init(
                        examples: 3, machine: Sample.machine,
                        digests: .init(weights: Sample.weights, shard: Sample.shard, output: Sample.output)))
            ),
            ("predict", .refused(.init(stage: "predict", code: "shape", message: "no", hint: "h", file: "f"))),
        ]
        for (command, outcome) in outcomes {
            let receipt = Receipt(command: command, outcome: outcome)
            #expect(try Receipt(json: Array(canonicalJSON(receipt).utf8)) == receipt)
        }
    }

    @Test func tellsAKilledWorkerFromOneThatNeverStarted() {
        let running = Receipt(command: "train", outcome: .running)
        #expect(Receipt.explanation(exitCode: 9, receipt: running).contains("out of memory"))
        #expect(Receipt.explanation(exitCode: 9, receipt: nil).contains("never started"))
        let refused = Receipt(
            command: "train", stage: Stage("read-shard", file: "f"), error: DeMLError(.shape, "does not fit"))
        #expect(Receipt.explanation(exitCode: 65, receipt: refused) == "f: does not fit")
        #expect(Receipt.explanation(exitCode: 0, receipt: running).contains("no complete report"))
        #expect(Receipt.explanation(exitCode: 11, receipt: running).contains("SIGSEGV"))
        #expect(Receipt.explanation(exitCode: 143, receipt: running).contains("signal 15"))
    }

    @Test(arguments: [
        "", "[]", "{}", #"{"status":"fine","command":"train","version":"1"}"#,
        #"{"status":"ok","command":"train","version":"1"}"#, #"{"status":"ok","command":"dance","version":"1"}"#,
        #"{"status":"error","command":7,"version":"1"}"#,
    ])
    func refusesWhatIsNoReceipt(text: String) {
        let error = #expect(throws: DeMLError.self) { try Receipt(json: Array(text.utf8)) }
        #expect(error?.code == .malformed)
    }

    @Test func refusesAFileWithoutAReceipt() {
        let error = #expect(throws: DeMLError.self) { try Receipt(contentsOf: "/nowhere/report.json") }
        #expect(error?.code == .notFound)
    }
}

@Suite("The border: a stranger's receipt")
struct ReceiptCheckTests {
    private func code(_ receipt: Receipt, _ job: WorkerJob = Sample.job()) -> DeMLError.Code? {
        do throws(DeMLError) {
            _ = try receipt.checked(for: job, examples: Sample.examples)
            return nil
        } catch {
            return error.code
        }
    }

    @Test func whatIsRightPassesAsItIs() throws {
        let receipt = Sample.training()
        #expect(try receipt.checked(for: Sample.job(), examples: Sample.examples) == receipt)
        #expect(receipt.training?.workDone(of: TrainingOptions(epochs: 3, batchSize: 32)) == 1)
    }

    @Test(
        "numbers that no honest worker tells",
        arguments: [
            ("examples", "9223372036854775807", DeMLError.Code.mismatch), ("examples", "-1", .mismatch),
            ("examples", "101", .mismatch), ("examples", "1e30", .malformed), ("examples", "1.5", .malformed),
            ("steps", "1", .mismatch), ("steps", "0", .mismatch), ("steps", "-9223372036854775808", .mismatch),
            ("steps", "9223372036854775807", .mismatch), ("steps", "13", .mismatch),
            ("epochs", "[]", .mismatch), ("epochs", #"[{"loss":1,"seconds":1}]"#, .mismatch),
            ("epochs", epochs(#""loss":1e300,"seconds":1"#), .outOfRange),
            ("epochs", epochs(#""loss":1e999,"seconds":1"#), .malformed),
            ("epochs", epochs(#""loss":NaN,"seconds":1"#), .malformed),
            ("epochs", epochs(#""loss":1,"accuracy":1.01,"seconds":1"#), .outOfRange),
            ("epochs", epochs(#""loss":1,"accuracy":-0.1,"seconds":1"#), .outOfRange),
            ("epochs", epochs(#""loss":1,"seconds":-1"#), .outOfRange),
            ("epochs", epochs(#""loss":1,"seconds":1e10"#), .outOfRange),
            ("seconds", "-1", .outOfRange), ("seconds", "1e300", .outOfRange), ("seconds", "null", .malformed),
            ("samples_per_second", "-1", .outOfRange), ("samples_per_second", "NaN", .malformed),
            ("samples_per_second", "1e999", .malformed), ("samples_per_second", #""fast""#, .malformed),
            ("threads", "0", .outOfRange), ("threads", "9223372036854775807", .outOfRange),
            ("stopped_early", "true", .mismatch), ("delta_sha256", "null", .missing),
            ("delta_sha256", #""../../etc""#, .malformed), ("weights_sha256", #""00""#, .mismatch),
            ("weights_sha256", "null", .mismatch), ("shard_sha256", #""00""#, .mismatch),
            ("command", #""evaluate""#, .malformed), ("status", #""running""#, .workerFailed),
            ("status", #""error""#, .workerFailed),
        ])
    func hostileNumbers(key: String, value: String, expected: DeMLError.Code) throws {
        let text = try Self.text(replacing: key, with: value)
        let error = #expect(throws: DeMLError.self, "\(key): \(value)") {
            try Receipt(json: Array(text.utf8)).checked(for: Sample.job(), examples: Sample.examples)
        }
        #expect(error?.code == expected, "\(key): \(value) gives \(error?.message ?? "")")
    }

    /// Three epochs of that content.
    private static func epochs(_ content: String) -> String { "[{\(content)},{\(content)},{\(content)}]" }

    private static func text(replacing key: String, with value: String) throws -> String {
        let known: [String: String] = [
            "status": #""ok""#, "command": #""train""#, "version": #""1""#, "examples": "100", "steps": "12",
            "epochs": epochs(#""loss":1,"accuracy":0.5,"seconds":1"#), "stopped_early": "false", "seconds": "2",
            "samples_per_second": "50", "threads": "2", "isa": #""avx2""#, "weights_sha256": "\"\(Sample.weights)\"",
            "shard_sha256": "\"\(Sample.shard)\"", "delta_sha256": "\"\(Sample.output)\"",
        ]
        precondition(known[key] != nil, "a key that a receipt has")
        let pairs = known.merging([key: value]) { $1 }.sorted { $0.key < $1.key }
        return "{" + pairs.map { "\"\($0.key)\":\($0.value)" }.joined(separator: ",") + "}"
    }

    @Test("a rate that a coarse clock gives is cut to what a display can show")
    func cutRate() throws {
        let text = try Self.text(replacing: "samples_per_second", with: "1e300")
        let receipt = try Receipt(json: Array(text.utf8)).checked(for: Sample.job(), examples: Sample.examples)
        #expect(receipt.machine?.samplesPerSecond == Receipt.maximumRate)
    }

    @Test("fewer steps count only where the job permits partial work, and say so themselves")
    func partialWork() throws {
        func stopped(_ steps: Int, epochs: Int, early: Bool = true) -> Receipt {
            Sample.training {
                $0.steps = steps
                $0.epochs = Array($0.epochs.prefix(epochs))
                $0.stoppedEarly = early
            }
        }
        let job = Sample.job(partial: true)
        for (steps, epochs) in [(1, 1), (4, 1), (5, 2), (8, 2), (9, 3), (11, 3)] {
            #expect(code(stopped(steps, epochs: epochs)) == .mismatch, "\(steps) steps without permission")
            let receipt = try stopped(steps, epochs: epochs).checked(for: job, examples: Sample.examples)
            let share = receipt.training?.workDone(of: TrainingOptions(epochs: 3, batchSize: 32))
            #expect(share == Double(steps) / 12)
        }
        #expect(code(Sample.training(), job) == nil, "all of the work is always an answer")
        #expect(code(stopped(5, epochs: 1), job) == .mismatch, "five steps reach into the second epoch")
        #expect(code(stopped(5, epochs: 3), job) == .mismatch)
        #expect(code(stopped(5, epochs: 2, early: false), job) == .mismatch)
        #expect(code(stopped(12, epochs: 3), job) == .mismatch)
        #expect(code(stopped(0, epochs: 0), job) == .mismatch)
        #expect(code(stopped(-3, epochs: 0), job) == .mismatch)
    }

    @Test("a job that counts steps is answered with so many, in the epochs that they reach")
    func countedSteps() throws {
        func receipt(_ steps: Int, epochs: Int) -> Receipt {
            Sample.training {
                $0.steps = steps
                $0.epochs = Array(repeating: $0.epochs[0], count: epochs)
            }
        }
        for (steps, epochs) in [(1, 1), (4, 1), (5, 2), (9, 3)] {
            let job = Sample.job(.train(TrainingOptions(batchSize: 32, steps: steps)))
            #expect(code(receipt(steps, epochs: epochs), job) == nil, "\(steps) steps")
            #expect(code(receipt(steps, epochs: epochs + 1), job) == .mismatch)
            #expect(code(receipt(steps - 1, epochs: epochs), job) == .mismatch)
            #expect(code(receipt(steps + 1, epochs: epochs), job) == .mismatch)
        }
    }

    @Test("steps of shards of every size", arguments: [(1, 1), (31, 1), (32, 1), (33, 2), (64, 2), (100, 4)])
    func steps(examples: Int, perEpoch: Int) {
        #expect(TrainingOptions(epochs: 1, batchSize: 32).steps(examples: examples) == perEpoch)
        #expect(TrainingOptions(epochs: 5, batchSize: 32).steps(examples: examples) == 5 * perEpoch)
        #expect(TrainingOptions(epochs: 1_000_000, batchSize: 1).steps(examples: .max) == .max)
    }

    @Test func evaluationsAreChecked() {
        let job = Sample.job(.evaluate)
        func receipt(_ change: (inout Receipt.Evaluation) -> Void = { _ in }) -> Receipt {
            var evaluation = Receipt.Evaluation(
                examples: 100, loss: 0.5, accuracy: 0.9, confusion: [[50, 5], [5, 40]], machine: Sample.machine,
                digests: .init(weights: Sample.weights, shard: Sample.shard))
            change(&evaluation)
            return Receipt(command: "evaluate", outcome: .evaluated(evaluation))
        }
        #expect(code(receipt(), job) == nil)
        #expect(code(receipt { $0.confusion = [] }, job) == nil)
        #expect(code(receipt { $0.confusion[0][0] = 51 }, job) == .outOfRange)
        #expect(code(receipt { $0.confusion[0][0] = 49 }, job) == .mismatch)
        #expect(code(receipt { $0.confusion[0][0] = -1 }, job) == .outOfRange)
        #expect(code(receipt { $0.confusion[1][1] = .max }, job) == .outOfRange)
        #expect(code(receipt { $0.confusion[0] = [1] }, job) == .mismatch)
        #expect(code(receipt { $0.loss = .nan }, job) == .notFinite)
        #expect(code(receipt { $0.accuracy = 1.5 }, job) == .outOfRange)
        #expect(code(receipt { $0.digests.weights = nil }, job) == .mismatch)
        #expect(code(receipt(), Sample.job()) == .mismatch, "an evaluation is no training")
    }

    @Test func predictionsAreChecked() {
        let job = Sample.job(.predict())
        func receipt(_ change: (inout Receipt.Prediction) -> Void = { _ in }) -> Receipt {
            var prediction = Receipt.Prediction(
                examples: 100, machine: Sample.machine,
                digests: .init(weights: Sample.weights, shard: Sample.shard, output: Sample.output))
            change(&prediction)
            return Receipt(command: "predict", outcome: .predicted(prediction))
        }
        #expect(code(receipt(), job) == nil)
        #expect(code(receipt { $0.examples = 99 }, job) == .mismatch)
        #expect(code(receipt { $0.digests.output = nil }, job) == .missing)
        #expect(code(receipt { $0.machine.samplesPerSecond = .nan }, job) == .notFinite)
        #expect(code(receipt { $0.machine.seconds = .infinity }, job) == .notFinite)
    }

    @Test("no text of a stranger can steer a terminal or fill it")
    func texts() throws {
        let escape = "\u{1b}[2J\u{9b}31m\u{202e}\r\n"
        let refusal = Receipt.Refusal(
            stage: escape, code: escape, message: escape + String(repeating: "m", count: 100_000), hint: escape,
            file: escape)
        let receipt = Receipt(command: "train", outcome: .refused(refusal))
        let read = try #require(try Receipt(json: Array(canonicalJSON(receipt).utf8)).refusal)
        for text in [read.stage, read.code, read.message, read.hint, read.file] {
            let text = try #require(text)
            #expect(text.unicodeScalars.allSatisfy { $0.value >= 0x20 && !(0x7f...0x9f).contains($0.value) })
            #expect(!text.unicodeScalars.contains("\u{202e}"))
            #expect(text.count <= 2001)
        }
        let trained = Sample.training { $0.machine.isa = escape + String(repeating: "x", count: 1000) }
        let isa = try trained.checked(for: Sample.job(), examples: Sample.examples).machine?.isa
        #expect(isa?.contains("\u{1b}") == false && isa?.count == 21)
    }
}
