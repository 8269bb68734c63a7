import Application
import Federation
import Foundation
import NeuralNetwork
import Tensors

/// Runs that come with DeML: data, model and training that are known to work together.
struct Examples: Sendable {
    struct Example: Encodable, Sendable {
        var name: String
        var title: String
        /// The first sentence of the file's comment.
        var about: String
        var data: String
        var model: RawJSON
        var settings: [String: RawJSON]
        var parameters: Int
        var isHere: Bool
    }

    private let application: DeMLApplication

    init(_ application: DeMLApplication) { self.application = application }

    /// Those in `examples/`, where they are; the first one, MNIST on three workers, is always there.
    func list() throws -> [Example] {
        var examples = [try Self.example("mnist-mlp", about: "MNIST on three workers.", text: Self.mnist, application)]
        for name in ["mnist-2nn", "mnist-cnn", "fashion-cnn"] {
            guard let path = application.paths.shipped("examples/\(name).yaml"),
                let bytes = try? Files.read(path, maximumBytes: 1 << 20)
            else { continue }
            let text = String(decoding: bytes, as: UTF8.self)
            if let example = try? Self.example(name, about: Self.about(text), text: text, application) {
                examples.append(example)
            }
        }
        return examples
    }

    /// The settings of examples/mnist-mlp.yaml, with the data that comes with DeML.
    static let mnist = """
        {"data":"mnist","model":{"input":{"shape":[1,28,28],"divide_by":255},"layers":[{"type":"flatten"},
        {"type":"linear","out_features":128},{"type":"relu"},{"type":"dropout","p":0.2},{"type":"linear","out_features":10}],
        "loss":"cross_entropy"},"workers":3,"rounds":3,"local_epochs":5,"batch_size":64,"optimizer":"adam",
        "learning_rate":0.001,"partition":"iid","seed":0}
        """

    private static func about(_ text: String) -> String {
        let lines = text.split(separator: "\n").prefix { $0.hasPrefix("#") }.map { $0.dropFirst().drop { $0 == " " } }
        let whole = lines.joined(separator: " ")
        return String(whole.prefix(while: { $0 != ":" })).harmless(maximum: 200)
    }

    private static func example(
        _ name: String, about: String, text: String, _ application: DeMLApplication
    ) throws -> Example {
        // The paths in the files are seen from their folder; the data has a name here.
        let data = name.hasPrefix("fashion") ? "fashion-mnist" : "mnist"
        let configuration = try application.settings(TrainRequest(settings: [("data", "/")], document: text))
        let isHere = (try? application.settings(TrainRequest(settings: [("data", data)]))) != nil
        guard case .description(let model)? = configuration.model.source else {
            throw PageError(.internalServerError, "the example has no model", place: name)
        }
        var settings: [String: RawJSON] = [:]
        for found in RunConfiguration().allDifferences(to: configuration)
        where !["data", "model", "output"].contains(found.key) {
            let isNumber = Double(found.now) != nil || ["true", "false"].contains(found.now)
            settings[found.key] = RawJSON(isNumber ? found.now : "\"\(found.now)\"")
        }
        return Example(
            name: name, title: name, about: about, data: data, model: RawJSON(model.canonicalJSON), settings: settings,
            parameters: model.parameterCount, isHere: isHere)
    }
}
