import Application
import Federation
import GolemFleet
import Tensors

/// Money is spent only after a click on the amount: whoever starts a run on rented machines says what the button said, and that
/// is compared with what the run may cost.
enum Consent {
    /// GLM that the run may cost in all; nil where nothing is rented.
    static func budget(_ configuration: RunConfiguration, _ application: DeMLApplication) -> Double? {
        guard configuration.machines.fleet == .golem else { return nil }
        return configuration.golem.budget ?? GolemSettings().budget.glm
    }

    static func check(_ configuration: RunConfiguration, agreed: Double?, _ application: DeMLApplication) throws {
        guard let budget = budget(configuration, application) else { return }
        guard let agreed else {
            throw PageError(
                .conflict, "this rents machines for up to \(budget) GLM, and nobody has agreed to that", place: "budget"
            )
        }
        guard agreed == budget else {
            throw PageError(
                .conflict, "the button said \(agreed) GLM, but the run may cost \(budget) GLM", place: "budget",
                hint: "look at the amount once more")
        }
    }
}
