// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IRewardVault} from "../src/interfaces/IRewardVault.sol";

/// @title A member's account that answers a payment with a call of its own
/// @notice For tests only: proves that a claim cannot be entered twice.
contract ReentrantReceiver {
    enum Mode {
        Accept,
        Refuse,
        Reenter,
        ReenterAndSwallow
    }

    Mode public mode;
    IRewardVault public vault;
    bytes public call;

    /// @notice Whether the last call from within a payment succeeded.
    bool public reentered;

    /// @notice The revert data of the last call from within a payment.
    bytes public answer;

    /// @param mode_ What to do when paid.
    /// @param vault_ Whom to call when paid.
    /// @param call_ Calldata of that call.
    function arm(Mode mode_, IRewardVault vault_, bytes calldata call_) external {
        (mode, vault, call) = (mode_, vault_, call_);
    }

    receive() external payable {
        if (mode == Mode.Accept) return;
        require(mode != Mode.Refuse, "refused");
        (reentered, answer) = address(vault).call(call);
        require(reentered || mode == Mode.ReenterAndSwallow, "nested call failed");
    }
}
