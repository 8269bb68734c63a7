import Application
import Datasets
import Federation
import Foundation
import GolemFleet
import Hummingbird
import NIOPosix
import NeuralNetwork
import Tensors

/// From data to a run that goes: what the data is, which model suits, what it may cost, start.
struct TrainRoutes: Sendable {
    let library: RunLibrary
    let uploads: Uploads
    let places: Places

    private var application: DeMLApplication { library.application }

    func add(to router: Router<PageContext>) {
        router.post("/api/uploads") { _, _ in
            try Response.json(["id": try uploads.begin()])
        }
        router.put("/api/uploads/:id") { request, context in
            let id = context.parameters.get("id") ?? ""
            let length = request.headers[.contentLength].flatMap { Int($0) }
            let bytes = try await uploads.receive(
                id, name: request.query("name") ?? "", length: length, request.body)
            return try Response.json(["bytes": bytes])
        }
        router.post("/api/data/look") { request, _ in
            let wish = try await request.json(DataWish.self)
            return try Response.json(try await atLeisure { try look(wish) })
        }
        router.get("/api/examples") { _, _ in
            try Response.json(["examples": try Examples(application).list()])
        }
        router.post("/api/models/check") { request, _ in
            let wish = try await request.json(ModelWish.self)
            return try Response.json(try wish.answer())
        }
        router.post("/api/models/read") { request, _ in
            struct Wish: Decodable { var model: String }
            let wish = try await request.json(Wish.self)
            return try Response.json(
                try await atLeisure {
                    let found = try application.model(in: try places.model(wish.model))
                    return ModelFound(
                        model: found.json.map { RawJSON($0) }, weights: found.hasWeights ? wish.model : nil)
                })
        }
        router.post("/api/models/match") { request, _ in
            struct Wish: Decodable {
                var weights: String
                var model: JSONTree
            }
            let wish = try await request.json(Wish.self)
            let model = String(decoding: try JSONEncoder().encode(wish.model), as: UTF8.self)
            return try Response.json(
                try await atLeisure {
                    let summary = try application.match(weights: try places.model(wish.weights), to: model)
                    return ["summary": summary.harmless(maximum: 4000)]
                })
        }
        router.post("/api/settings/check") { request, _ in
            let wish = try await request.json(RunWish.self)
            return try Response.json(try cost(try configuration(wish)))
        }
        router.post("/api/runs") { request, _ in
            let wish = try await request.json(RunWish.self)
            let configuration = try configuration(wish)
            try Consent.check(configuration, agreed: wish.agreedGLM, application)
            let folder = try library.background.start(
                name: FileName.plain(wish.name ?? "run", maximum: 60), document: try document(wish))
            return try Response.json(["run": Files.name(of: folder.path)], status: .created)
        }
    }

    // MARK: Data

    private func look(_ wish: DataWish) throws -> DataAnswer {
        var request = DataRequest(
            data: try places.resolved(wish.data), labelColumn: wish.labelColumn, testFraction: wish.testFraction)
        request.header = wish.header
        request.decimal = wish.decimal.flatMap(DecimalMark.init)
        request.labels = wish.labels.flatMap(LabelKind.init)
        request.standardize = wish.standardize
        request.missingValues = wish.missingValues ?? []
        request.ignoreColumns = wish.ignoreColumns ?? []
        request.categoryColumns = wish.categoryColumns ?? []
        // JSON is YAML.
        request.text = try wish.text.map { String(decoding: try RunJSON.encode($0), as: UTF8.self) }
        return DataAnswer(try application.look(at: request, partition: wish.partition), application.paths)
    }

    // MARK: A run

    /// The settings as `deml train` takes them, with paths that may be named only.
    private func document(_ wish: RunWish) throws -> String {
        var settings = wish.settings
        for key in settings.keys where Self.refused.contains(key) {
            throw PageError(.unprocessableContent, "this is decided by the page", place: key)
        }
        for key in ["data", "initial_weights", "continue_from"] {
            guard let value = settings[key] else { continue }
            guard case .text(let text) = value else {
                throw PageError(.unprocessableContent, "this is to be a name", place: key)
            }
            settings[key] = .text(key == "data" ? try places.resolved(text) : try places.model(text))
        }
        if case .text(let path)? = settings["model"] { settings["model"] = .text(try places.model(path)) }
        if case .mapping(let golem)? = settings["golem"] {
            for key in golem.keys where !Self.golemKeys.contains(key) {
                throw PageError(
                    .unprocessableContent, "this is set where deml ui is started", place: "golem.\(key)")
            }
        }
        return String(decoding: try RunJSON.encode(settings), as: UTF8.self)
    }

    private static let refused: Set<String> = ["output", "repeat"]
    private static let golemKeys: Set<String> = [
        "budget", "max_price_per_hour", "max_price_per_cpu_hour", "max_start_price", "subnet", "network", "min_memory",
        "min_storage", "min_cores", "min_machines", "start_timeout",
    ]

    private func configuration(_ wish: RunWish) throws -> RunConfiguration {
        try application.settings(TrainRequest(document: try document(wish)))
    }

    private func cost(_ configuration: RunConfiguration) throws -> CostAnswer {
        guard let budget = Consent.budget(configuration, application) else { return CostAnswer() }
        let (settings, problems) = application.golemSettings(of: configuration)
        let machines = configuration.clientsPerRound
        return CostAnswer(
            budget: budget, worst: settings.worstCase(machines: machines, hours: 1), machines: machines,
            network: settings.network, isMoney: settings.isMainnet, notice: settings.costNotice(machines: machines),
            problems: problems)
    }
}

/// Work that takes long on a thread that may be held up.
func atLeisure<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await NIOThreadPool.singleton.runIfActive(body)
}

// MARK: What is asked

private struct DataWish: Decodable, Sendable {
    var data: String
    var labelColumn: String?
    var testFraction: Double?
    var header: Bool?
    var decimal: String?
    var labels: String?
    var standardize: Bool?
    var missingValues: [String]?
    var ignoreColumns: [String]?
    var categoryColumns: [String]?
    var text: JSONTree?
    /// Where it says who has what.
    var partition: String?

    /// The keys of a run's settings.
    enum CodingKeys: String, CodingKey {
        case data, header, decimal, labels, standardize, text, partition
        case labelColumn = "label_column"
        case testFraction = "test_fraction"
        case missingValues = "missing_values"
        case ignoreColumns = "ignore_columns"
        case categoryColumns = "category_columns"
    }
}

private struct RunWish: Decodable {
    var name: String?
    var settings: [String: JSONTree]
    /// GLM that the button has named.
    var agreedGLM: Double?
}

private struct ModelWish: Decodable {
    var input: ModelDescription.Input
    var layers: [JSONTree]
    var loss: ModelDescription.Loss

    struct Answer: Encodable {
        var lines: [LayerLine]
        var parameters: Int?
        var multiplyAdds: Int?
        var output: [Int]?
        var mistake: PageError?
        var layer: Int?
        var json: RawJSON?
    }

    func answer() throws -> Answer {
        guard layers.count <= 200 else {
            throw PageError(.unprocessableContent, "the editor shows up to 200 layers", hint: "write a YAML file")
        }
        let texts = try layers.map { String(decoding: try JSONEncoder().encode($0), as: UTF8.self) }
        let outlook = ModelOutlook(input: input, layers: texts, loss: loss)
        return Answer(
            lines: outlook.lines, parameters: outlook.model?.parameterCount, multiplyAdds: outlook.model?.multiplyAdds,
            output: outlook.model?.outputShape, mistake: outlook.mistake.map { PageError($0) }, layer: outlook.layer,
            json: outlook.model.map { RawJSON($0.canonicalJSON) })
    }
}

/// JSON that is there already.
struct RawJSON: Encodable, Sendable {
    private let tree: JSONTree?

    init(_ text: String) { tree = try? JSONDecoder().decode(JSONTree.self, from: Data(text.utf8)) }

    func encode(to encoder: any Encoder) throws { try tree.encode(to: encoder) }
}

// MARK: What is answered

private struct ModelFound: Encodable, Sendable {
    /// None of a file of weights alone.
    var model: RawJSON?
    /// The name of the file, where it has weights to start from.
    var weights: String?
}

private struct CostAnswer: Encodable {
    var budget: Double?
    var worst: Double?
    var machines: Int?
    var network: String?
    var isMoney: Bool?
    var notice: [String]?
    var problems: [String]?
}

private struct DataAnswer: Encodable, Sendable {
    struct Column: Encodable {
        var name: String
        var kind: String
        var mean: Double?
        var deviation: Double?
        var values: [String]?
        var count: Int?
        var missing: Bool
    }
    struct Finding: Encodable {
        var subject: String
        var text: String
        var warning: Bool
    }
    struct Class: Encodable {
        var name: String
        var count: Int
    }
    struct Frame: Encodable {
        var width: Int
        var height: Int
        /// 0 to 255.
        var values: [Int]
    }

    struct Text: Encodable {
        /// `characters` or `bytes`.
        var tokens: String
        /// Tokens of an example.
        var block: Int
    }

    var name: String
    var place: String
    var kind: String
    /// Of a text: how it is read.
    var text: Text?
    /// Several files, or roles: each may be a client.
    var hasClients: Bool
    var columns: [Column]
    var columnCount: Int
    var label: [String]
    var classes: [Class]?
    var targets: [String]
    var input: [Int]
    var outputs: Int
    var train: Int
    var test: Int
    var findings: [Finding]
    var model: RawJSON
    var settings: [String: RawJSON]
    var pictures: [Frame]

    /// More are counted, not listed.
    private static let mostColumns = 300

    init(_ look: DataLook, _ paths: Paths) {
        name = look.name.harmless(maximum: 200)
        place = paths.shown(look.path).harmless(maximum: 1000)
        switch look.schema.features {
        case .table(let features):
            kind = "table"
            columnCount = features.count
            columns = features.prefix(Self.mostColumns).map { feature in
                let name = feature.name.harmless(maximum: 120)
                switch feature.kind {
                case .number(let mean, let deviation):
                    return Column(
                        name: name, kind: "number", mean: mean, deviation: deviation, missing: feature.hasMissing)
                case .category(let values):
                    return Column(
                        name: name, kind: "category", values: values.prefix(12).map { $0.harmless(maximum: 60) },
                        count: values.count, missing: feature.hasMissing)
                }
            }
        case .pixels: (kind, columns, columnCount) = ("pictures", [], 0)
        case .numbers: (kind, columns, columnCount) = (look.pictures.isEmpty ? "numbers" : "pictures", [], 0)
        case .tokens: (kind, columns, columnCount) = ("texts", [], 0)
        }
        if case .tokens(let length, let vocabulary) = look.schema.features {
            text = Text(tokens: vocabulary == nil ? "bytes" : "characters", block: length)
        }
        hasClients = look.hasClients
        label = look.schema.targetColumns.map { $0.harmless(maximum: 120) }
        if let names = look.schema.classNames {
            let counts = look.classCounts ?? []
            classes = names.enumerated().prefix(200).map {
                Class(name: $1.harmless(maximum: 80), count: counts.indices.contains($0) ? counts[$0] : 0)
            }
            targets = []
        } else {
            classes = nil
            targets = look.schema.targetColumns.map { $0.harmless(maximum: 120) }
        }
        input = look.inputShape
        outputs = look.schema.outputs
        train = look.trainExamples
        test = look.testExamples
        findings = look.decisions.map {
            Finding(
                subject: $0.subject.harmless(maximum: 100), text: $0.text.harmless(maximum: 1000), warning: $0.isWarning
            )
        }
        model = RawJSON(look.model.canonicalJSON)
        let training = look.configuration.training
        settings = [
            "workers": RawJSON("\(look.configuration.federation.workers)"),
            "rounds": RawJSON("\(look.configuration.federation.rounds)"),
            "local_epochs": RawJSON("\(training.localEpochs)"), "batch_size": RawJSON("\(training.batchSize)"),
            "optimizer": RawJSON("\"\(training.optimizer.rawValue)\""),
            "learning_rate": RawJSON("\(training.learningRate)"),
            "fleet": RawJSON("\"\(look.configuration.machines.fleet.rawValue)\""),
        ]
        pictures = look.pictures.map { frame in
            Frame(
                width: frame.width, height: frame.height,
                values: frame.values.map { Int(max(0, min(255, ($0 * 255).rounded()))) })
        }
    }
}
