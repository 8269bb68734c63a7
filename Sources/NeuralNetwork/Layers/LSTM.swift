import CKernels
import Tensors

/// Long short-term memory over a sequence: [t, c] → [t, h] (`output: all`) or the last step's [h] (`output: last`), twice
/// as wide where it is `bidirectional`. Hochreiter and Schmidhuber, 1997, with forget gates (Gers et al., 2000).
///
/// i, f, g, o = σ, σ, tanh, σ of W_ih·x + b_ih + W_hh·h + b_hh; c = f·c + i·g; h = o·tanh c. Parameters
/// `weight_ih_l0` `[4h, c]`, `weight_hh_l0` `[4h, h]`, `bias_ih_l0`, `bias_hh_l0`, then `…_l0_reverse`, `…_l1`, as torch's
/// nn.LSTM (batch_first) names, orders and draws them: U(-1/√h, 1/√h).
struct LSTM: LayerDefinition {
    static let type = "lstm"
    static let options = Recurrence.options

    var recurrence: Recurrence

    func shapes(_ place: inout LayerPlace) throws(DeMLError) -> LayerShapes {
        try recurrence.shapes(place, gates: 4)
    }

    func multiplyAdds(_ layer: ResolvedLayer) -> Int { recurrence.multiplyAdds(layer, gates: 4) }

    func preferredLayout(_ layer: ResolvedLayer) -> Layout? { .torch }

    func build(
        _ layer: ResolvedLayer, _ x: Activations, _ network: inout NetworkBuilder
    ) throws(DeMLError) -> Activations {
        try recurrence.build(layer, x, .lstm, &network)
    }
}

extension LSTM {
    init(_ options: StrictContainer) throws {
        try options.demand("proj_size", 0)
        recurrence = try Recurrence(options)
    }

    func encode(_ options: inout OptionEncoder) throws {
        try recurrence.encode(&options)
    }
}

extension Layer {
    /// Long short-term memory over a sequence: [t, c] → [t, h], or where `isLast` the last step's [h].
    public static func lstm(
        hidden: Int, layers: Int = 1, bias: Bool = true, dropout: Double = 0, isBidirectional: Bool = false,
        isLast: Bool = false
    ) -> Layer {
        Layer(
            LSTM(
                recurrence: Recurrence(
                    hidden: hidden, layers: layers, bias: bias, dropout: dropout, isBidirectional: isBidirectional,
                    isLast: isLast)))
    }
}
