import NeuralNetwork
import Tensors

/// Which tensor of somebody else's file is which parameter of a model: by name, or by order where the names differ.
///
/// A file of weights says nothing of the model's structure, and a module's author chose its names (`conv1.weight`,
/// `fc_layers.2.bias`). Names that are those of our model count as they are. Else the layers of both are taken in order:
/// the file's, then that of the names with their numbers counted (`conv2` before `conv10`); the kind of each tensor
/// (`weight`, `bias`, `running_mean`, …) and every shape must fit. What does not is refused by both names.
public struct WeightMatching: Sendable {
    /// The model's parameters and the file's tensors, in the model's order.
    public let pairs: [(parameter: String, tensor: String)]
    /// The tensors in the model's order.
    let tensors: [Tensor]

    /// Whether the names differ.
    public var isByOrder: Bool { pairs.contains { $0.parameter != $0.tensor } }

    /// What was taken for what, as a sentence: `conv1 → 0, conv2 → 3, …`.
    public var summary: String {
        guard isByOrder else { return "all \(pairs.count) tensors by their names" }
        func module(_ name: String) -> String {
            let parts = name.split(separator: ".").dropLast().joined(separator: ".")
            return parts.isEmpty ? name : parts
        }
        var shown: [String] = []
        for pair in pairs {
            let text = "\(ForeignName.shown(module(pair.tensor))) → \(module(pair.parameter))"
            if shown.last != text { shown.append(text) }
        }
        let rest = shown.count - 24
        return "taken by order: " + shown.prefix(24).joined(separator: ", ") + (rest > 0 ? " and \(rest) more" : "")
    }

    /// - Throws: `mismatch`, `missing` and `shape`, naming the parameter and the tensor.
    public init(
        _ model: ModelDescription, _ file: [(name: String, tensor: Tensor)]
    ) throws(DeMLError) {
        // Counters of batch_norm say nothing here.
        let file = file.filter { !$0.name.hasSuffix("num_batches_tracked") }
        let parameters = model.parameters
        for prefix in Self.prefixes(file.map(\.name)) {
            let named = Dictionary(
                file.map { (String($0.name.dropFirst(prefix.count)), $0) }, uniquingKeysWith: { first, _ in first })
            let found = parameters.compactMap { named[$0.name] }
            guard found.count == parameters.count, found.count == file.count else { continue }
            try self.init(parameters, found)
            return
        }
        guard file.count == parameters.count else {
            let (ours, theirs) = Self.firstDifference(parameters.map(\.name), file.map(\.name))
            throw DeMLError(
                .mismatch,
                "the model has \(parameters.count) tensors (\(ours)), but the file has \(file.count) (\(theirs))",
                hint: "deml inspect shows what is in the file")
        }
        var problem: DeMLError?
        for order in [file, Self.sorted(file)] {
            do throws(DeMLError) {
                try self.init(parameters, order)
                return
            } catch {
                problem = problem ?? error
            }
        }
        throw problem ?? DeMLError(.missing, "the model has no parameters")
    }

    private init(
        _ parameters: [ParameterDescription], _ file: [(name: String, tensor: Tensor)]
    ) throws(DeMLError) {
        for (parameter, entry) in zip(parameters, file) {
            guard Self.kind(parameter.name) == Self.kind(entry.name) else {
                throw DeMLError(
                    .mismatch,
                    "the model's '\(parameter.name)' would be the file's \(entry.name.quotedForMessage), which is something else",
                    hint: "the layers of the model must be those of the file, in its order")
            }
            guard parameter.shape == entry.tensor.shape else {
                throw DeMLError(
                    .shape,
                    "the model's '\(parameter.name)' has the shape \(parameter.shape), but the file's \(entry.name.quotedForMessage) has \(entry.tensor.shape)",
                    hint: "the layers of the model must be those of the file, in its order")
            }
        }
        pairs = zip(parameters, file).map { ($0.name, $1.name) }
        tensors = file.map(\.tensor)
    }

    /// The last part of a name: `weight`, `bias`, `running_var`, `weight_hh_l0`.
    private static func kind(_ name: String) -> Substring {
        name.split(separator: ".").last ?? ""
    }

    /// What all names may begin with and say nothing by: nothing, `module.` of DataParallel, or any first part.
    private static func prefixes(_ names: [String]) -> [String] {
        var prefixes = [""]
        guard let first = names.first else { return prefixes }
        var candidate = ""
        for part in first.split(separator: ".").dropLast() {
            candidate += part + "."
            guard names.allSatisfy({ $0.hasPrefix(candidate) }) else { break }
            prefixes.append(candidate)
        }
        return prefixes
    }

    /// By name, numbers counted.
    private static func sorted(
        _ file: [(name: String, tensor: Tensor)]
    ) -> [(name: String, tensor: Tensor)] {
        func module(_ name: String) -> [NaturalPart] {
            NaturalPart.parts(name.split(separator: ".").dropLast().joined(separator: "."))
        }
        let order = ["weight", "bias", "running_mean", "running_var"]
        func rank(_ name: String) -> Int { order.firstIndex(of: String(kind(name))) ?? order.count }
        return file.enumerated().sorted { first, second in
            let (left, right) = (module(first.element.name), module(second.element.name))
            if left != right { return left.lexicographicallyPrecedes(right) }
            let (one, other) = (rank(first.element.name), rank(second.element.name))
            return one != other ? one < other : first.offset < second.offset
        }.map(\.element)
    }

    /// Names for the message where the numbers of tensors differ.
    private static func firstDifference(_ ours: [String], _ theirs: [String]) -> (String, String) {
        func some(_ names: [String]) -> String {
            names.prefix(4).map(\.quotedForMessage).joined(separator: ", ") + (names.count > 4 ? ", …" : "")
        }
        return (some(ours), some(theirs))
    }
}

/// A piece of a name: a number or what stands between.
private enum NaturalPart: Comparable {
    case number(Int)
    case text(String)

    static func parts(_ name: String) -> [NaturalPart] {
        var parts: [NaturalPart] = []
        var digits = ""
        var text = ""
        func isDigit(_ character: Character) -> Bool { character.isASCII && character.isNumber }
        for character in name {
            if isDigit(character) {
                if !text.isEmpty { parts.append(.text(text)) }
                text = ""
                digits.append(character)
            } else {
                if !digits.isEmpty { parts.append(.number(Int(digits) ?? .max)) }
                digits = ""
                text.append(character)
            }
        }
        if !text.isEmpty { parts.append(.text(text)) }
        if !digits.isEmpty { parts.append(.number(Int(digits) ?? .max)) }
        return parts
    }
}
