import CKernels
import Tensors

/// Gated recurrent units over a sequence: [t, c] → [t, h] (`output: all`) or the last step's [h] (`output: last`), twice as
/// wide where it is `bidirectional`. Cho et al., 2014 (arXiv 1406.1078), in torch's form.
///
/// r, z = σ of W_ih·x + b_ih + W_hh·h + b_hh; n = tanh(W_ih·x + b_ih + r·(W_hh·h + b_hh)); h = n + z·(h - n). Parameters
/// `weight_ih_l0` `[3h, c]`, `weight_hh_l0` `[3h, h]`, `bias_ih_l0`, `bias_hh_l0`, then `…_l0_reverse`, `…_l1`, as torch's
/// nn.GRU (batch_first) names, orders and draws them: U(-1/√h, 1/√h).
struct GRU: LayerDefinition {
    static let type = "gru"
    static let options = Recurrence.options.filter { $0 != "proj_size" }

    var recurrence: Recurrence

    func shapes(_ place: inout LayerPlace) throws(DeMLError) -> LayerShapes {
        try recurrence.shapes(place, gates: 3)
    }

    func multiplyAdds(_ layer: ResolvedLayer) -> Int { recurrence.multiplyAdds(layer, gates: 3) }

    func preferredLayout(_ layer: ResolvedLayer) -> Layout? { .torch }

    func build(
        _ layer: ResolvedLayer, _ x: Activations, _ network: inout NetworkBuilder
    ) throws(DeMLError) -> Activations {
        try recurrence.build(layer, x, .gru, &network)
    }
}

extension GRU {
    init(_ options: StrictContainer) throws {
        recurrence = try Recurrence(options)
    }

    func encode(_ options: inout OptionEncoder) throws {
        try recurrence.encode(&options)
    }
}

extension Layer {
    /// Gated recurrent units over a sequence: [t, c] → [t, h], or where `isLast` the last step's [h].
    public static func gru(
        hidden: Int, layers: Int = 1, bias: Bool = true, dropout: Double = 0, isBidirectional: Bool = false,
        isLast: Bool = false
    ) -> Layer {
        Layer(
            GRU(
                recurrence: Recurrence(
                    hidden: hidden, layers: layers, bias: bias, dropout: dropout, isBidirectional: isBidirectional,
                    isLast: isLast)))
    }
}
