import CKernels
import Tensors

/// A kind of layer: its options, what they mean for shapes and parameters, and how it is computed. Everything that there
/// is to know of a layer stands in the file of its definition, and ``LayerRegistry`` has a line for it.
///
/// The definition is the value that a description holds. Forward and backward are an ``Operation`` that `build` makes for
/// one network; it belongs into the same file.
protocol LayerDefinition: Sendable, Equatable {
    /// The name in a model description: torch's, in snake case.
    static var type: String { get }
    /// The keys it may have besides `type`; others are refused.
    static var options: [String] { get }

    /// Reads the options. Their values are checked by `shapes`, where the input is known.
    init(_ options: StrictContainer) throws
    /// Writes what differs from the defaults.
    func encode(_ options: inout OptionEncoder) throws

    /// Checks the options against the input's shape; the output's shape, and the parameters with torch's initialisation.
    /// Errors name both shapes; the layer's number is added by the caller.
    func shapes(_ place: inout LayerPlace) throws(DeMLError) -> LayerShapes
    /// Multiply-adds of one example's forward pass, with valid shapes. Without products: one for each number written.
    func multiplyAdds(_ layer: ResolvedLayer) -> Int

    /// The fewest examples of a batch that it can be trained on.
    func leastExamples(_ layer: ResolvedLayer) -> Int

    /// Whether its input may be token ids.
    var takesTokens: Bool { get }
    /// The order of an image's numbers that suits the layer; nil where it does not care, and the next layer decides.
    func preferredLayout(_ layer: ResolvedLayer) -> Layout?
    /// The function of this layer, where the layer before can compute it at once with its own output.
    var fusible: deml_activation? { get }
    /// Adds the operations behind `x` to the network; the output.
    func build(
        _ layer: ResolvedLayer, _ x: Activations, _ network: inout NetworkBuilder
    ) throws(DeMLError) -> Activations
}

extension LayerDefinition {
    static var options: [String] { [] }
    var fusible: deml_activation? { nil }
    var takesTokens: Bool { false }

    func encode(_ options: inout OptionEncoder) throws {}

    func leastExamples(_ layer: ResolvedLayer) -> Int { 1 }

    func multiplyAdds(_ layer: ResolvedLayer) -> Int {
        layer.output.reduce(1, *)
    }
}

/// A layer without options.
protocol PlainLayer: LayerDefinition {
    init()
}

extension PlainLayer {
    init(_ options: StrictContainer) {
        self.init()
    }
}
