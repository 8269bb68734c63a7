import Jobs
import NeuralNetwork
import Tensors
import Testing

@Suite struct WorkerJobTests {
    private let options = TrainingOptions(
        epochs: 3, batchSize: 16, optimizer: .adamw(learningRate: 1e-3), seed: .max, shuffle: false)

    @Test func comesBackAsItWas() throws {
        let jobs = [
            Sample.job(.train(options), partial: true), Sample.job(.evaluate), Sample.job(.predict()),
            Sample.job(.predict(.outputs)),
            Sample.job(.predict(.text(TextContinuation(length: 3, tokens: 500)))),
            Sample.job(.predict(.text(Self.text))),
            WorkerJob(
                .train(options), inputs: [.weights: .init(path: "ä \"w\""), .shard: .init(path: "s")], output: "d",
                report: "r", limits: .init(threads: 7)),
            Self.withState(.init(input: nil, output: "t")),
            Self.withState(.init(input: .init(path: "a", sha256: Sample.output), output: nil, interval: 60)),
            Self.withState(.init(input: .init(path: "a"), output: "t", interval: 0.25)),
        ]
        for job in jobs {
            #expect(try WorkerJob(json: job.json.utf8) == job)
            #expect(try WorkerJob(json: job.json.utf8).json == job.json)
        }
    }

    @Test func hasOneJSON() throws {
        let job = Sample.job(partial: true)
        #expect(
            job.json == """
                {"inputs":{"shard":{"file":"s","sha256":"\(Sample.shard)"},\
                "weights":{"file":"w","sha256":"\(Sample.weights)"}},"kind":"train",\
                "limits":{"max_seconds":10,"partial":true},\
                "options":\(try #require(job.training).canonicalJSON),"output":"d","report":"r"}
                """)
        #expect(job.json.utf8.count < 4096, "it is given to a guest as an argument")
    }

    private static let text = TextContinuation(
        length: 1, tokens: 9, sampling: .init(temperature: 0.5, topK: 3, seed: .max))

    @Test func textsToWriteOn() throws {
        let job = Sample.job(.predict(.text(Self.text)))
        let written = #""text":{"length":1,"seed":18446744073709551615,"temperature":0.5,"tokens":9,"top_k":3}"#
        #expect(job.json.contains(written) && job.json.contains(#""form":"text""#))
        var other = Self.text
        other.sampling.seed = 1
        #expect(job.question.contains(written) && job.question != Sample.job(.predict(.text(other))).question)
        for (from, to) in [
            (#""form":"text","#, ""), (#""form":"text""#, #""form":"outputs""#), ("," + written, ""),
            (#""length":1"#, #""length":0"#), (#""tokens":9"#, #""tokens":0"#),
            (#""tokens":9"#, #""tokens":1000000000"#),
            (#""temperature":0.5"#, #""temperature":-1"#), (#""top_k":3"#, #""top_k":0"#),
            (#""top_k":3"#, #""top_p":3"#), (#""predict""#, #""evaluate""#),
        ] {
            #expect(job.json.contains(from), "\(from)")
            #expect(throws: DeMLError.self, "\(from) → \(to)") {
                try WorkerJob(json: job.json.replacing(from, with: to).utf8)
            }
        }
    }

    @Test func formsOfPredictions() throws {
        let text = Sample.job(.predict(.outputs)).json
        #expect(text.contains("\"form\":\"outputs\"") && !Sample.job(.predict()).json.contains("form"))
        #expect(Sample.job(.predict(.outputs)).question != Sample.job(.predict()).question)
        for wrong in [text.replacing("outputs\"", with: "guesses\""), text.replacing("predict\"", with: "evaluate\"")] {
            let error = #expect(throws: DeMLError.self) { try WorkerJob(json: wrong.utf8) }
            #expect(error?.message.contains("form") == true, "\(wrong)")
        }
    }

    private static func withState(_ state: WorkerJob.State) -> WorkerJob {
        var job = Sample.job()
        job.state = state
        return job
    }

    /// A job that says nothing of a state has the text it always had; what is left out has its standard value.
    @Test func stateIsWrittenOnlyWhereThereIsOne() throws {
        let job = Sample.job()
        #expect(!job.json.contains("state"))
        var other = Self.withState(.init(output: "t"))
        #expect(other.json == job.json.dropLast() + #","state":{"output":"t"}}"#)
        #expect(other.state?.interval == 60)
        other.state = .init(input: .init(path: "a", sha256: Sample.output), output: "t", interval: 5)
        #expect(
            other.json == job.json.dropLast()
                + #","state":{"every_seconds":5,"input":{"file":"a","sha256":"\#(Sample.output)"},"output":"t"}}"#)
        #expect(other.question == job.question)
    }

    @Test("the question is the same wherever the files lie and however long it may take")
    func question() {
        var job = Sample.job()
        let question = job.question
        job.inputs[.weights]?.path = "/elsewhere"
        job.output = "other"
        job.report = "other"
        job.limits = .init(threads: 3, maxSeconds: 1, allowsPartialWork: true)
        #expect(job.question == question)
        job.inputs[.shard]?.sha256 = Sample.output
        #expect(job.question != question)
        #expect(Sample.job(.evaluate).question != question)
    }

    @Test(arguments: [
        ("", DeMLError.Code.malformed), ("[]", .malformed), ("{}", .missing),
        (#"{"kind":"dance","inputs":{},"report":"r"}"#, .outOfRange),
        (#"{"kind":"train","report":"r","output":"d"}"#, .missing),
        (#"{"kind":"train","inputs":{"weights":{"file":"w"},"shard":{"file":"s"}},"output":"d"}"#, .missing),
        (#"{"kind":"train","inputs":{"weights":{"file":"w"},"shard":{"file":"s"}},"report":"r"}"#, .usage),
        (#"{"kind":"train","inputs":{"weights":{"file":"w"}},"output":"d","report":"r"}"#, .usage),
        (#"{"kind":"evaluate","inputs":{"weights":{"file":"w"},"shard":{"file":""}},"report":"r"}"#, .usage),
        (
            #"{"kind":"evaluate","inputs":{"weights":{"file":"w"},"shard":{"file":"s"}},"report":"r","options":{}}"#,
            .outOfRange
        ),
        (
            #"{"kind":"evaluate","inputs":{"weights":{"file":"w"},"shard":{"file":"s"}},"report":"r","limit":{}}"#,
            .outOfRange
        ),
        (
            #"{"kind":"evaluate","inputs":{"weights":{"file":"w"},"shard":{"file":"s","sha256":"AA"}},"report":"r"}"#,
            .malformed
        ),
        (
            #"{"kind":"evaluate","inputs":{"weights":{"file":"w"},"shard":{"file":"s"},"spice":{"file":"s"}},"report":"r"}"#,
            .outOfRange
        ),
        (
            #"{"kind":"evaluate","inputs":{"weights":{"file":"w"},"shard":{"file":"s"}},"report":"r","limits":{"threads":0}}"#,
            .outOfRange
        ),
        (
            #"{"kind":"evaluate","inputs":{"weights":{"file":"w"},"shard":{"file":"s"}},"report":"r","limits":{"max_seconds":0}}"#,
            .outOfRange
        ),
        (
            #"{"kind":"evaluate","inputs":{"weights":{"file":"w"},"shard":{"file":"s"}},"report":"r","limits":{"max_seconds":1e30}}"#,
            .outOfRange
        ),
        (
            #"{"kind":"train","inputs":{"weights":{"file":"w"},"shard":{"file":"s"}},"output":"d","report":"r","options":{"epochs":0}}"#,
            .outOfRange
        ),
        (train(state: "{}"), .usage), (train(state: #"{"every_seconds":5}"#), .usage),
        (train(state: #"{"output":""}"#), .usage), (train(state: #"{"input":{"file":""}}"#), .usage),
        (train(state: #"{"input":{"file":"a","sha256":"AA"}}"#), .malformed),
        (train(state: #"{"output":"t","every_seconds":-1}"#), .outOfRange),
        (train(state: #"{"output":"t","every_seconds":1e300}"#), .outOfRange),
        (train(state: #"{"output":"t","every":1}"#), .outOfRange), (train(state: "[]"), .malformed),
        (
            #"{"kind":"evaluate","inputs":{"weights":{"file":"w"},"shard":{"file":"s"}},"report":"r","state":{"output":"t"}}"#,
            .usage
        ),
    ])
    func refusesWhatIsNoJob(text: String, code: DeMLError.Code) {
        let error = #expect(throws: DeMLError.self, "\(text)") { try WorkerJob(json: text.utf8) }
        #expect(error?.code == code, "\(text): \(error?.message ?? "")")
    }

    private static func train(state: String) -> String {
        #"{"kind":"train","inputs":{"weights":{"file":"w"},"shard":{"file":"s"}},"output":"d","report":"r","state":"#
            + state + "}"
    }
}
