import Federation
import Foundation
import NeuralNetwork
import Tensors
import Yams

/// The settings of a run: defaults, then the YAML file (or the settings of the run that is resumed), then options.
///
/// Everything that is wrong with any of them is found before anything is thrown.
struct TrainSettings {
    var configuration: RunConfiguration
    /// What the run is called when it is not given a folder: the file's name without its ending.
    var name: String
    /// Keys that the file or the options say.
    private(set) var given: Set<String> = []

    /// - Parameters:
    ///   - file: the YAML file; paths in it are seen from its folder.
    ///   - resumed: the `config.json` of the run to go on with.
    ///   - given: options by key; paths in them are seen from the working folder.
    ///   - document: settings as text instead of a file's; paths in them are seen from the working folder.
    init(
        file: String?, resumed: String?, given: [(key: String, text: String)], golem: [String: String] = [:],
        paths: Paths, document: String? = nil
    ) throws {
        name = file.map { (($0 as NSString).lastPathComponent as NSString).deletingPathExtension } ?? "run"
        let source = file ?? resumed
        var mapping = Node.Mapping([])
        if let source {
            guard let node = try YAMLFile.read(source, paths).mapping else {
                throw DeMLError(
                    .malformed, "the file is no list of settings", place: paths.shown(source),
                    hint: "write 'key: value' lines, as in examples/mnist-mlp.yaml")
            }
            mapping = node
        } else if let document {
            guard let node = try YAMLFile.parse(document, place: "settings").mapping else {
                throw DeMLError(.malformed, "this is no list of settings", place: "settings")
            }
            mapping = node
        }
        var fromOptions: Set<String> = []
        for (key, text) in given {
            // A schedule is written as in the file.
            let isTree =
                ["schedule", "round_schedule", "augmentation", "class_weights", "text"].contains(key)
                || text == "null" && !Self.isText(key)
            mapping[Node(key)] =
                isTree
                ? try YAMLFile.parse(text, place: "--" + key.replacingOccurrences(of: "_", with: "-"))
                : Node(text, Tag(.implicit), Self.isText(key) ? .singleQuoted : .any)
            fromOptions.insert(key)
        }
        if !golem.isEmpty {
            var section = mapping["golem"]?.mapping ?? Node.Mapping([])
            for (key, text) in golem.sorted(by: { $0.key < $1.key }) {
                section[Node(key)] = Node(text, Tag(.implicit), .singleQuoted)
                fromOptions.insert("golem." + key)
            }
            mapping["golem"] = .mapping(section)
        }

        let fileFolder = source.map {
            (paths.resolved($0) as NSString).deletingLastPathComponent
        }
        func folder(of key: String) -> String {
            fromOptions.contains(key) ? paths.workingFolder : fileFolder ?? paths.workingFolder
        }
        // Where no data is named it is that of the run that is gone on from, read as it was.
        if resumed == nil, mapping["data"] == nil, let model = mapping["continue_from"]?.string {
            let loaded = try ModelArgument(paths.resolved(model, from: folder(of: "continue_from")), paths)
            guard let run = loaded.run else {
                throw DeMLError(
                    .usage, "it is not said which data: the model is not in the folder of a run",
                    place: paths.shown(loaded.path), hint: "name the data by --data")
            }
            let theirs = try YAMLFile.read(run.config, paths).mapping ?? Node.Mapping([])
            for key in Self.keysOfData where mapping[key] == nil {
                if let value = theirs[key], value.null == nil { mapping[Node(key)] = value }
            }
            mapping["data"] = Node(try paths.data(of: run), Tag(.implicit), .singleQuoted)
        }
        self.given = Set(mapping.keys.compactMap(\.string))
        let decoded = try YAMLDecoder().decode(RunConfigurationFile.self, from: .mapping(mapping))
        var configuration = decoded.configuration
        var problems = decoded.problems
        let broken = Set(problems.map(\.key))
        problems += configuration.problems().filter { !broken.contains($0.key) }

        // What the settings point to is looked for now, so that a missing file stands in the same list.
        var found: [DeMLError] = []
        func check(_ key: String, _ body: () throws(DeMLError) -> Void) {
            guard !problems.contains(where: { $0.key == key }) else { return }
            do throws(DeMLError) {
                try body()
            } catch {
                found.append(error)
                problems.append(ConfigurationProblem(key, error.summary))
            }
        }
        var dataPath = ""
        check("data") { () throws(DeMLError) in
            if let resumed, !fromOptions.contains("data") {
                do {
                    dataPath = try paths.data(of: RunFolder(path: Files.parent(of: paths.resolved(resumed)) ?? "/"))
                } catch {
                    throw error as? DeMLError ?? DeMLError(.internal, "\(error)")
                }
            } else {
                dataPath = try paths.dataset(configuration.data.path, from: folder(of: "data"))
            }
        }
        if let weights = configuration.model.initialWeights {
            let path = paths.resolved(weights, from: folder(of: "initial_weights"))
            configuration.model.initialWeights = path
            check("initial_weights") { () throws(DeMLError) in
                guard Files.exists(path) else {
                    throw DeMLError(.notFound, "there is no such weights file", place: paths.shown(path))
                }
            }
        }
        if case .path(let model) = configuration.model.source {
            check("model") { () throws(DeMLError) in
                let path = paths.resolved(model, from: folder(of: "model"))
                let loaded = try ModelFile(path: path, paths)
                configuration.model.source = loaded.source
                if loaded.isWeights, configuration.model.initialWeights == nil {
                    configuration.model.initialWeights = path
                }
            }
        }
        if let model = configuration.model.continueFrom, resumed == nil {
            check("continue_from") { () throws(DeMLError) in
                let loaded = try ModelArgument(paths.resolved(model, from: folder(of: "continue_from")), paths)
                if case .description(let wanted)? = configuration.model.source, wanted != loaded.weights.model {
                    throw DeMLError(
                        .mismatch, "its model is not the one of the settings", place: paths.shown(loaded.path),
                        hint: "leave out model, or continue_from")
                }
                configuration.model.source = .description(loaded.weights.model)
                configuration.model.initialWeights = loaded.path
                // The data is read as the model knows it.
                configuration.model.continueFrom = loaded.path
            }
        }
        guard problems.isEmpty else {
            if problems.count == 1, let error = found.first { throw error }
            throw ConfigurationError(problems.map { Self.named($0, fromOptions: fromOptions) })
        }
        configuration.data.path = dataPath
        if let image = configuration.golem.image {
            configuration.golem.image = paths.resolved(image, from: folder(of: "golem.image"))
        }
        if let output = configuration.output.folder {
            configuration.output.folder = paths.resolved(output, from: folder(of: "output"))
        }
        self.configuration = configuration
    }

    /// How data is read and divided.
    private static let keysOfData = [
        "test_fraction", "label_column", "labels", "header", "decimal", "standardize", "missing_values", "text",
        "ignore_columns", "category_columns",
    ]

    /// Texts are quoted, so that a folder called 2024 or null stays one.
    private static func isText(_ key: String) -> Bool {
        [
            "data", "model", "initial_weights", "continue_from", "partition", "output", "label_column",
            "missing_values", "ignore_columns", "category_columns", "decimal",
        ].contains(key)
    }

    /// A problem of an option is named as the option was written.
    private static func named(_ problem: ConfigurationProblem, fromOptions: Set<String>) -> ConfigurationProblem {
        guard fromOptions.contains(problem.key) else { return problem }
        let option: String
        switch problem.key {
        case "fleet": option = "on"
        case "shuffle": option = "no-shuffle"
        case "comparison": option = "no-comparison"
        case "tensorboard": option = "no-tensorboard"
        default:
            let key = problem.key.hasPrefix("golem.") ? String(problem.key.dropFirst("golem.".count)) : problem.key
            option = key.replacingOccurrences(of: "_", with: "-")
        }
        return ConfigurationProblem("--" + option, problem.message)
    }
}
