"""The keys that everybody has are those of every development node."""

from ledger_pipeline.core.public_keys import DEVELOPMENT_ADDRESSES, is_public

MNEMONIC = "test test test test test test test test test test test junk"


def test_they_are_the_twenty_accounts_of_a_development_node() -> None:
    # Imported here: it takes seconds.
    from eth_account import Account

    Account.enable_unaudited_hdwallet_features()
    accounts = [Account.from_mnemonic(MNEMONIC, account_path=f"m/44'/60'/0'/0/{number}") for number in range(20)]
    assert {account.address.lower() for account in accounts} == DEVELOPMENT_ADDRESSES
    assert is_public(accounts[1].address)
    assert not is_public("0x" + "1" * 40)
